import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from flows.export_version import export_version
from storage.artifacts import Request
from storage.export import rows as rows_module
from storage.export import target as target_module
from storage.schemas import DatasetSchema, Feature
from storage.store import Store
from storage.tables import scores_to_table
from storage.values import Scores
from tests.flows.commands import tamis
from tests.storage.houses import DATASET, ROWS, toy_selection, toy_store

PAGE = (Path(__file__).parents[2] / "docs" / "handover.md").read_text(encoding="utf-8")
FORMATS = ("csv", "delta", "hf", "parquet", "webdataset")
DIRECTORIES = ("delta", "hf", "webdataset")
KEPT = ["toys:0", "toys:2", "toys:4"]


@pytest.fixture
def store(tmp_path) -> Store:
    """The toys, with a subset that keeps three, gives one the weight 2 and calls the last one a cat."""
    store = toy_store(tmp_path / "store")
    toy_selection(store, [1, 0, 2, 1], labels=[0, 1, 0, 0])
    return store


@pytest.fixture
def images(tmp_path) -> tuple[Store, np.ndarray]:
    """Nine grey images of 3 x 4 bytes, all kept, in blocks of two."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12), dtype=np.uint8)
    rows = pl.DataFrame(
        {
            "example_id": [f"toys:a.{row}" for row in range(9)],
            "split": "train",
            "label": [7, 3, 7] * 3,
            "image": pl.Series(pixels),
        }
    )
    schema = DatasetSchema(features=(Feature(name="image", kind="image", shape=(3, 4)),), classes=("3", "7"))
    store = toy_store(tmp_path / "store", rows, schema)
    toy_selection(store, [1.0] * 9)
    return store, pixels.reshape(9, 3, 4)


def read(to: str, place: Path) -> pl.DataFrame:
    """An export as the tool that it is for reads it, in the order of its rows."""
    if to == "parquet":
        return pl.read_parquet(place)
    if to == "csv":
        return pl.read_csv(place)
    if to == "delta":
        import deltalake

        return pl.DataFrame(deltalake.DeltaTable(place).to_pyarrow_table()).sort("example_id")
    if to == "hf":
        import datasets

        found = datasets.load_from_disk(str(place))
        frame = pl.DataFrame(found.with_format(None).to_list())
        names = dict(enumerate(found.features["label"].names))
        labelled = [name for name in ("label", "given_label") if name in frame.columns]
        return frame.with_columns(pl.col(labelled).replace_strict(names, return_dtype=pl.String))
    import webdataset

    shards = sorted(map(str, place.glob("*.tar")))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    return pl.DataFrame([json.loads(sample["json"]) for sample in samples])


@pytest.mark.parametrize("to", FORMATS)
def test_a_subset_comes_back_with_weights_reasons_and_corrected_labels(store, tmp_path, to):
    told = export_version(store, "toys-clean@1", to=to, output=tmp_path / "out")
    assert told == f"subset toys-clean@1: 3 rows written to {tmp_path / 'out'} as {to}"
    frame = read(to, tmp_path / "out")
    assert frame["example_id"].to_list() == KEPT
    assert frame["weight"].to_list() == [1.0, 2.0, 1.0]
    assert frame["reason"].to_list() == ["kept"] * 3
    assert frame["label"].to_list() == ["cat", "cat", "cat"]
    assert frame["given_label"].to_list() == ["cat", "cat", "dog"]
    assert frame["size"].to_list() == [1.0, 3.0, 5.0]
    assert frame["fur"].to_list() == ["long"] * 3


@pytest.mark.parametrize("to", FORMATS)
def test_dropped_rows_come_too_when_all_are_asked_for(store, tmp_path, to):
    export_version(store, "toys-clean@1", to=to, output=tmp_path / "out", dropped_too=True)
    frame = read(to, tmp_path / "out")
    assert frame["example_id"].to_list() == ["toys:0", "toys:1", "toys:2", "toys:4"]
    assert frame["weight"].to_list() == [1.0, 0.0, 2.0, 1.0]


def test_a_data_set_comes_back_whole(store, tmp_path):
    told = export_version(store, "toys@1", to="parquet", output=tmp_path / "toys.parquet")
    assert told.startswith("dataset toys@1: 5 rows")
    assert pl.read_parquet(tmp_path / "toys.parquet").equals(ROWS)


def test_a_scored_version_has_its_scores(store, tmp_path):
    index = store.dataset("toys").index("train")
    values = np.array([0.1, 0.2, 0.3, 0.4])
    scores = Scores(
        index=index, values=values, high_means="hard", standard_error=values / 10, columns={"flag": values > 0.2}
    )
    request = Request(kind="scores", settings={})
    store.write_scores(request, scores, {"scorer": "x"})
    scored = Request(kind="scored", settings={})
    with store.write(scored) as draft:
        draft.meta.update({"dataset": DATASET.id, "columns": {"el2n": request.id, "size": request.id}})
    store.publish("scored", "toys", scored.id)
    export_version(store, "toys", to="parquet", output=tmp_path / "out", kind="scored")
    frame = pl.read_parquet(tmp_path / "out")
    assert frame["el2n"].to_list() == [0.1, 0.2, 0.3, None, 0.4]
    assert frame["el2n_se"].to_list() == [0.1 / 10, 0.2 / 10, 0.3 / 10, None, 0.4 / 10]
    assert frame["el2n_flag"].to_list() == [False, False, True, None, True]
    assert frame["size"].to_list() == ROWS["size"].to_list()
    assert frame["tamis_size"].to_list() == frame["el2n"].to_list()


@pytest.mark.parametrize(
    ("classes", "suggested"),
    [
        (("cat", "dog"), ["dog", "cat", "cat", None, "dog"]),
        (("-3", "70"), [70, -3, -3, None, 70]),
        (("7", "007"), ["007", "7", "7", None, "007"]),
    ],
)
def test_scores_are_exported_as_the_view_shows_them(tmp_path, classes, suggested):
    rows = ROWS.with_columns(label=pl.Series([classes[0]] * 5))
    store = toy_store(tmp_path / "store", rows, DatasetSchema(features=(), classes=classes))
    index = store.dataset("toys").index("train")
    columns = {"flagged": np.array([False, False, True, True]), "suggested_label": np.array([1, 0, 0, 1])}
    scores = Scores(index=index, values=np.arange(4) / 8, high_means="hard", columns=columns)
    plain = Request(kind="scores", settings={"frozen": False})
    store.write_scores(plain, scores, {})
    frozen = Request(kind="scores", settings={"frozen": True})
    table, meta = scores_to_table(scores)
    with store.write(frozen) as draft:
        draft.add_table("scores", table.with_columns(value=pl.Series([0.1, 0.2, None, 0.4])))
        draft.add_table("frozen", pl.DataFrame({"example_id": ["toys:2", "toys:4"]}))
        draft.meta.update(meta)
    scored = Request(kind="scored", settings={})
    with store.write(scored) as draft:
        draft.meta.update({"dataset": DATASET.id, "columns": {"noise": plain.id, "old": frozen.id}})
    store.publish("scored", "toys", scored.id)
    export_version(store, "toys", to="parquet", output=tmp_path / "out", kind="scored")
    frame = pl.read_parquet(tmp_path / "out")
    assert frame["noise_suggested_label"].to_list() == suggested
    assert frame["old_frozen"].to_list() == [False, False, None, None, True]
    view = store.sql("SELECT * EXCLUDE (split, label) FROM scored.toys ORDER BY example_id")
    assert frame.select(view.columns).equals(view)
    assert set(frame.columns) == {*ROWS.columns, *view.columns}


@pytest.mark.parametrize("to", FORMATS)
def test_images_come_back_byte_for_byte_in_the_target_s_own_types(images, tmp_path, monkeypatch, to):
    monkeypatch.setattr(rows_module, "ROWS_AT_A_TIME", 2)
    store, pixels = images
    place = tmp_path / "out"
    export_version(store, "toys-clean", to=to, output=place)
    if to == "webdataset":
        import PIL.Image

        with tarfile.open(place / "rows-000000.tar") as tar:
            names = tar.getnames()
            assert names[:3] == [f"000000000.{one}" for one in ("cls", "json", "png")]
            found = [
                np.asarray(PIL.Image.open(io.BytesIO(tar.extractfile(f"{row:09d}.png").read()))) for row in range(9)
            ]
            classes = [int(tar.extractfile(f"{row:09d}.cls").read()) for row in range(9)]
        assert classes == [1, 0, 1] * 3
    elif to == "hf":
        import datasets

        loaded = datasets.load_from_disk(str(place))
        assert loaded.features["image"] == datasets.Array2D((3, 4), "uint8")
        assert loaded.features["label"] == datasets.ClassLabel(names=["3", "7"])
        assert loaded["label"][:] == [1, 0, 1] * 3
        found = loaded.with_format("numpy")["image"][:]
    elif to == "delta":
        found = [np.frombuffer(one, np.uint8).reshape(3, 4) for one in read(to, place)["image"]]
    elif to == "csv":
        found = [np.array(json.loads(one)).reshape(3, 4) for one in read(to, place)["image"]]
    else:
        frame = read(to, place)
        assert frame.schema["image"] == pl.Array(pl.UInt8, 12)
        assert frame["label"].to_list() == [7, 3, 7] * 3
        found = frame["image"].to_numpy().reshape(-1, 3, 4)
    np.testing.assert_array_equal(np.stack(list(found)), pixels)


def test_an_image_that_png_has_no_mode_for_is_an_array(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12), dtype=np.uint8)
    rows = pl.DataFrame(
        {"example_id": ["toys:a", "toys:b"], "split": "train", "label": [None, "x"], "image": pl.Series(pixels)}
    )
    schema = DatasetSchema(features=(Feature(name="image", kind="image", shape=(2, 3, 2)),), classes=("x",))
    store = toy_store(tmp_path / "store", rows, schema)
    export_version(store, "toys", to="webdataset", output=tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "rows-000000.tar") as tar:
        assert "000000000.cls" not in tar.getnames()
        assert tar.extractfile("000000001.cls").read() == b"0"
        found = np.load(io.BytesIO(tar.extractfile("000000001.npy").read()))
    np.testing.assert_array_equal(found, pixels[1].reshape(2, 3, 2))


def test_the_json_of_a_shard_is_json_where_numbers_are_not_finite(tmp_path):
    rows = pl.DataFrame(
        {
            "example_id": ["toys:a", "toys:b"],
            "split": "train",
            "label": "x",
            "size": [float("nan"), 1.5],
            "pair": pl.Series([[float("inf"), 2.0], [None, float("-inf")]], dtype=pl.Array(pl.Float64, 2)),
            "box": [{"side": float("nan")}, {"side": 4.0}],
        }
    )
    schema = DatasetSchema(features=(Feature(name="size", kind="number"),), classes=("x",))
    store = toy_store(tmp_path / "store", rows, schema)
    export_version(store, "toys", to="webdataset", output=tmp_path / "out")

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    with tarfile.open(tmp_path / "out" / "rows-000000.tar") as tar:
        texts = [tar.extractfile(f"{row:09d}.json").read() for row in range(2)]
    found = [json.loads(text, parse_constant=refused) for text in texts]
    assert [one["size"] for one in found] == [None, 1.5]
    assert [one["pair"] for one in found] == [[None, 2.0], [None, None]]
    assert [one["box"] for one in found] == [{"side": None}, {"side": 4.0}]


@pytest.mark.parametrize("to", FORMATS)
def test_a_subset_that_keeps_nothing_is_an_export_without_rows(tmp_path, to):
    store = toy_store(tmp_path / "store")
    toy_selection(store, [0, 0, 0, 0])
    if to == "hf":
        with pytest.raises(ValueError, match="toys-clean@1 has no rows to export"):
            export_version(store, "toys-clean", to=to, output=tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["store"]
        return
    assert "0 rows" in export_version(store, "toys-clean", to=to, output=tmp_path / "out")
    assert len(read(to, tmp_path / "out")) == 0


@pytest.mark.parametrize("to", ["parquet", "hf", "webdataset", "delta"])
def test_every_format_but_csv_says_where_its_rows_are_from(store, tmp_path, to):
    place = tmp_path / "out"
    version = store.publish("subset", "toys-named", store.version("subset", "toys-clean").artifact, {"name": "toys"})
    export_version(store, str(version), to=to, output=place)
    if to == "parquet":
        card = json.loads(pq.read_metadata(place).metadata[b"tamis"])
    elif to == "delta":
        import deltalake

        card = json.loads(deltalake.DeltaTable(place).metadata().description)
    else:
        card = json.loads((place / "tamis.json").read_text())
    assert card["version"] == "toys-named@1"
    assert card["artifact"] == version.artifact
    assert card["dataset"] == DATASET.id
    assert card["classes"] == ["cat", "dog"]
    # printf '{"name":"toys"}' | sha256sum
    assert card["recipe_sha256"] == "7e3efe3fcfd1b4eec05fa47ea85ec440576d61664ef680c34305e118f1f1f25b"
    if to == "hf":
        assert "toys-named@1" in (place / "README.md").read_text()


def test_a_label_layer_lies_over_the_rows(tmp_path):
    store = toy_store(tmp_path / "store")
    request = Request(kind="dataset", settings={"name": "toys", "fixed": True}, inputs={"dataset": DATASET.id})
    old = store.record(DATASET.id)
    with store.write(request) as draft:
        draft.share(old.files)
        layer = ROWS.select("example_id", pl.lit("dog").alias("label"))
        draft.add_table("labels", layer)
        draft.meta.update(old.meta)
    store.publish("dataset", "toys", request.id)
    export_version(store, "toys@2", to="csv", output=tmp_path / "out.csv")
    assert read("csv", tmp_path / "out.csv")["label"].to_list() == ["dog"] * 5


@pytest.mark.parametrize("to", FORMATS)
def test_a_file_stays_until_it_may_be_replaced(store, tmp_path, to):
    place = tmp_path / "out"
    place.write_text("mine")
    with pytest.raises(ValueError, match="out exists; --replace writes over it"):
        export_version(store, "toys-clean", to=to, output=place)
    assert place.read_text() == "mine"
    export_version(store, "toys-clean", to=to, output=place, replace=True)
    assert len(read(to, place)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


@pytest.mark.parametrize("before", DIRECTORIES)
@pytest.mark.parametrize("to", DIRECTORIES)
def test_an_earlier_export_stays_until_it_may_be_replaced(store, tmp_path, before, to):
    place = tmp_path / "out"
    export_version(store, "toys-clean", to=before, output=place)
    with pytest.raises(ValueError, match="out exists; --replace writes over it"):
        export_version(store, "toys", to=to, output=place)
    assert len(read(before, place)) == 3
    export_version(store, "toys", to=to, output=place, replace=True)
    assert len(read(to, place)) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.tex", "mine"),
        ("tamis.json", '{"name": "a sieve"}'),
        ("tamis.json", "not JSON"),
        ("tamis.json", '["tamis", "version", "artifact"]'),
        (f"_delta_log/{0:020d}.json", '{"metaData": {"description": "{}"}}'),
        (f"_delta_log/{0:020d}.json", '{"metaData": {"name": "sales"}}'),
        (f"_delta_log/{0:020d}.json", '{"metaData": {"description": null}}'),
        (f"_delta_log/{0:020d}.json", '{"metaData": {"description": "Sales of 2019"}}'),
    ],
)
@pytest.mark.parametrize("to", DIRECTORIES)
@pytest.mark.parametrize("replace", [False, True])
def test_a_directory_that_is_no_export_is_never_replaced(store, tmp_path, to, replace, name, content):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ValueError, match=r"something else than an export.*empty it, or name another --output"):
        export_version(store, "toys-clean", to=to, output=tmp_path / "out", replace=replace)
    assert path.read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


@pytest.mark.parametrize("inside", [None, "thesis.tex", "tamis.json"])
@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_one_file_never_replaces_a_directory(store, tmp_path, to, inside):
    place = tmp_path / "out"
    place.mkdir()
    if inside is not None:
        (place / inside).write_text(json.dumps(dict.fromkeys(("tamis", "version", "artifact"), "x")))
    before = place.stat().st_ino
    with pytest.raises(ValueError, match="out is a directory, and one file is to be written; name a file as --output"):
        export_version(store, "toys-clean", to=to, output=place, replace=True)
    assert place.stat().st_ino == before
    assert [path.name for path in place.iterdir()] == ([] if inside is None else [inside])


@pytest.mark.parametrize(
    ("output", "name"),
    [(".", "current"), ("..", "current"), ("../inner", "current"), ("../../home", "home"), ("../../users", "home")],
)
@pytest.mark.parametrize("full", [False, True])
def test_the_current_and_the_home_directory_stay(store, tmp_path, monkeypatch, output, name, full):
    inner, home = tmp_path / "outer" / "inner", tmp_path / ("users/me" if "users" in output else "home")
    inner.mkdir(parents=True)
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(inner)
    if full:
        card = json.dumps(dict.fromkeys(("tamis", "version", "artifact"), "x"))
        (Path(output) / "tamis.json").write_text(card)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=rf"the {name} directory .*never replaces; name a new directory"):
        export_version(store, "toys-clean", to="webdataset", output=Path(output), replace=full)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("behind", ["directory", "file", "nothing"])
@pytest.mark.parametrize("to", FORMATS)
def test_a_link_and_what_is_behind_it_stay(store, tmp_path, to, behind):
    real, link = tmp_path / "real", tmp_path / "link"
    if behind == "directory":
        real.mkdir()
    elif behind == "file":
        real.write_text("mine")
    link.symlink_to("real")
    with pytest.raises(ValueError, match=rf"link is a link to real, and an export replaces no link; name {real}"):
        export_version(store, "toys-clean", to=to, output=link, replace=True)
    assert link.is_symlink()
    assert (real.is_dir(), real.is_file()) == (behind == "directory", behind == "file")
    assert behind != "file" or real.read_text() == "mine"


def test_a_pipe_is_not_replaced(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is neither a file nor a directory"):
        export_version(store, "toys-clean", to="csv", output=tmp_path / "pipe", replace=True)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("to", DIRECTORIES)
def test_an_empty_directory_is_a_place(store, tmp_path, to):
    (tmp_path / "out").mkdir()
    export_version(store, "toys-clean", to=to, output=tmp_path / "out")
    assert len(read(to, tmp_path / "out")) == 3


@pytest.mark.parametrize("where", ["store/out", "store", ".", "store/../store/artifacts/x"])
def test_a_place_in_or_around_the_store_is_refused(store, tmp_path, where):
    with pytest.raises(ValueError, match="an export goes outside"):
        export_version(store, "toys-clean", to="csv", output=tmp_path / where, replace=True)
    assert Store.open(tmp_path / "store").names("subset") == ["toys-clean"]


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_that_fails_leaves_nothing(store, tmp_path, monkeypatch, to):
    if to in DIRECTORIES:
        (tmp_path / "out").mkdir()
    before = sorted(tmp_path.iterdir())

    def broken(*_: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(target_module, "_put", broken)
    with pytest.raises(OSError, match="disk gone"):
        export_version(store, "toys-clean", to=to, output=tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    assert to not in DIRECTORIES or list((tmp_path / "out").iterdir()) == []


def test_a_killed_export_leaves_the_old_one_in_its_place(store, tmp_path):
    place = tmp_path / "out.csv"
    export_version(store, "toys-clean", to="csv", output=place)
    before = place.read_bytes()
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from flows.export_version import export_version\n"
        "from storage.export import target\n"
        "from storage.store import Store\n"
        "target._put = lambda *_: os._exit(9)\n"
        "export_version(Store.open(sys.argv[1]), 'toys', to='csv', output=Path(sys.argv[2]), replace=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.root), str(place)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == 9
    assert place.read_bytes() == before
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".partial")]) == 1


@pytest.mark.parametrize(
    ("to", "package", "extra"),
    [("hf", "datasets", "hf"), ("webdataset", "webdataset", "webdataset"), ("delta", "deltalake", "delta")],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(store, tmp_path, monkeypatch, to, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"pip install 'tamis\[{extra}\]'"):
        export_version(store, "toys-clean", to=to, output=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("toys-clean@1", "--to", "avro"), "there is no export format 'avro'; there are csv, delta, hf, parquet"),
        (("nothing@1", "--to", "csv"), "there is no dataset named 'nothing'"),
        (("toys-clean@9", "--to", "csv"), "'toys-clean' has no version 9"),
        (("toys@1", "--to", "csv", "--all"), "drops no rows; leave out --all"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(store, tmp_path, capsys, arguments, sentence):
    place = tmp_path / "out"
    code, out, err = tamis("export", *arguments, "--output", str(place), "--store", str(store.root), capsys=capsys)
    assert (code, out) == (1, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not place.exists()


def test_an_export_to_a_url_is_refused(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = ("--to", "csv", "--output", "s3://bucket/out.csv", "--store", str(store.root))
    code, _, err = tamis("export", "toys-clean@1", *said, capsys=capsys)
    assert (code, err) == (
        1,
        "tamis: --output s3://bucket/out.csv is a URL; name a file or directory of this machine\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_the_command_tells_what_it_wrote(store, tmp_path, capsys):
    place = tmp_path / "new" / "out.parquet"
    code, out, _ = tamis(
        "export", "toys-clean@1", "--to", "parquet", "--output", str(place), "--store", str(store.root), capsys=capsys
    )
    assert (code, out) == (0, f"subset toys-clean@1: 3 rows written to {place} as parquet\n")
    assert pl.read_parquet(place)["example_id"].to_list() == KEPT


def test_the_scripts_and_commands_of_the_page_work(finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished[0].root, tmp_path / "tamis-store")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAMIS_STORE", raising=False)
    scripts = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "torch.Size([128, 10])\n"
    commands = re.findall(r"^\$ tamis (.*)$", PAGE, flags=re.MULTILINE)
    assert {to for command in commands for to in re.findall(r"--to (\w+)", command)} == set(FORMATS)
    for command in commands:
        assert tamis(*shlex.split(command), capsys=capsys)[0] == 0
    record = finished[0].record(finished[0].version("subset", "digits-clean@1").artifact)
    assert pq.read_metadata(tmp_path / "digits-clean.parquet").num_rows == record.meta["kept"]
    assert len(pl.read_csv(tmp_path / "digits-clean.csv")) == record.rows("selection")
