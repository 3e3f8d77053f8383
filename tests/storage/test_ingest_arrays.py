import io
import json
import pickle
import zipfile
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from storage.contract import Contract
from storage.errors import ContractError, SourceError
from storage.ingest import compressed
from storage.ingest.formats import arrow, npz, openml
from storage.ingest.memory import ingest_frame
from storage.ingest.source import Source, fingerprint, frame_fingerprint
from storage.schemas import Feature, Roles
from storage.store import Store
from tests.storage.sources import XY, csv_file, ingest, parquet_file

TABLE = pl.DataFrame({"x": [1.0, 2.0, float("nan"), 4.0], "y": ["a", "b", "a", "b"]})


def stream_file(path, frame):
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


@pytest.mark.parametrize("name", ["toys.arrow", "toys.feather", "toys.ipc"])
def test_arrow_files_and_streams_hold_the_same_rows_as_parquet(tmp_path, name):
    expected = ingest(tmp_path / "p", parquet_file(tmp_path, TABLE))
    TABLE.write_ipc(tmp_path / name, compat_level=pl.CompatLevel.oldest())
    assert ingest(tmp_path / "f", tmp_path / name).examples.equals(expected.examples)
    found = ingest(tmp_path / "s", stream_file(tmp_path / name, TABLE))
    assert found.examples.equals(expected.examples)
    assert found.bad() == [(3, "non-finite number")]
    assert found.reports[-1].fraction == 1.0


def test_arrow_batches_are_cut_into_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "BLOCK_ROWS", 2)
    found = ingest(tmp_path, stream_file(tmp_path / "toys.arrow", TABLE))
    assert len(found.reports) == 4
    assert found.bad() == [(3, "non-finite number")]


def test_a_damaged_arrow_file_is_refused(tmp_path):
    path = stream_file(tmp_path / "toys.arrow", pl.concat([TABLE] * 50))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(SourceError, match=r"toys\.arrow (is damaged after row|is not an Arrow IPC)"):
        ingest(tmp_path, path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(SourceError, match="is not an Arrow IPC file or stream, or it is damaged"):
        ingest(tmp_path, path)


def test_npz_arrays_become_columns_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 40)
    path = tmp_path / "toys.npz"
    arrays = {
        "image": np.arange(24, dtype=np.uint8).reshape(6, 2, 2),
        "emb": np.arange(12, dtype=np.float32).reshape(6, 2),
        "y": np.array(["é", "b", "a", "b", "a", "b"]),
        "flag": np.array([True, False] * 3),
        "half": np.ones(6, dtype=np.float16),
    }
    np.savez_compressed(path, **arrays)
    found = ingest(tmp_path, path, Roles(features=("image",), label="y", image_shape=(2, 2)))
    assert found.examples["image"].to_list() == arrays["image"].reshape(6, 4).tolist()
    assert found.examples["label"].to_list() == arrays["y"].tolist()
    assert found.examples.select("emb_0", "emb_1").to_numpy().tolist() == arrays["emb"].tolist()
    assert found.examples["flag"].to_list() == [True, False] * 3
    assert found.examples["half"].to_list() == [1.0] * 6
    assert len(found.reports) > 3


def test_npz_that_is_pickled_uneven_or_damaged_is_refused(tmp_path):
    path = tmp_path / "toys.npz"

    class Dangerous:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    def sentence(**arrays):
        np.savez(path, **arrays)
        with pytest.raises(SourceError) as caught:
            ingest(tmp_path, path)
        return str(caught.value)

    x, y = np.ones(3), np.array(["a", "b", "c"])
    dangerous = np.array([Dangerous()], dtype=object)
    assert "array 'x' of" in sentence(x=dangerous, y=y[:1])
    assert "holds pickled objects, which are never loaded" in sentence(x=dangerous, y=y[:1])
    assert "differ in rows: x 3, y 2; the first axis must be the same" in sentence(x=x, y=y[:2])
    assert "array 'x' of" in sentence(x=np.float64(1), y=y)
    assert "is in Fortran order" in sentence(x=np.asfortranarray(np.ones((3, 2))), y=y)
    assert "is of type complex128" in sentence(x=x * 1j, y=y)
    assert "is of type |S1" in sentence(x=x, y=y.astype("S"))
    assert "so its rows are empty" in sentence(x=np.ones((3, 0)), y=y)
    np.savez(path, x=np.random.default_rng(0).normal(size=5000), y=np.zeros(5000, dtype=np.int64))
    whole = path.read_bytes()
    for damage in (whole[:1000], whole[:20000] + b"\1\2\3" + whole[20003:], b"", pickle.dumps([1, 2])):
        path.write_bytes(damage)
        with pytest.raises(SourceError, match="is not an NPZ file, or it is damaged"):
            ingest(tmp_path, path)


def test_an_npz_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "FREE_BYTES", 1 << 16)
    np.savez_compressed(tmp_path / "toys.npz", x=np.zeros(1_000_000), y=np.zeros(1_000_000))
    with pytest.raises(SourceError, match="unpacks to more than 200 times its"):
        ingest(tmp_path, tmp_path / "toys.npz")
    with zipfile.ZipFile(tmp_path / "toys.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SourceError, match=r"holds 'readme\.txt', which is no array"):
        ingest(tmp_path, tmp_path / "toys.npz")


def saved_by_hugging_face(folder, frame, names=("cat", "dog")):
    folder.mkdir(parents=True)
    stream_file(folder / "data-00000-of-00002.arrow", frame[:2])
    stream_file(folder / "data-00001-of-00002.arrow", frame[2:])
    files = [{"filename": f"data-0000{number}-of-00002.arrow"} for number in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_indices_files": None}))
    features = {"x": {"dtype": "float64", "_type": "Value"}, "y": {"names": list(names), "_type": "ClassLabel"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


SAVED = pl.DataFrame({"x": [1.0, 2.0, 3.0, float("inf")], "y": [0, 1, -1, 1]})


def test_a_directory_saved_by_hugging_face_has_its_class_names(tmp_path):
    found = ingest(tmp_path, saved_by_hugging_face(tmp_path / "saved", SAVED))
    assert found.examples.select("x", "label").rows() == [(1.0, "cat"), (2.0, "dog")]
    assert found.quarantine.select("source_file", "source_row", "rule").rows() == [
        ("data-00001-of-00002.arrow", 1, "null label"),
        ("data-00001-of-00002.arrow", 2, "non-finite number"),
    ]


def test_a_dictionary_of_splits_becomes_one_source_with_a_split_column(tmp_path):
    top = tmp_path / "saved"
    saved_by_hugging_face(top / "train", SAVED[:3])
    saved_by_hugging_face(top / "test", SAVED[:3])
    (top / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = ingest(tmp_path, top, Roles(features=("x",), label="y", split="split"))
    assert found.counts["by_split"] == {"train": 2, "validation": 0, "test": 2}
    assert found.counts["by_rule"] == {"null label": 2}
    before = fingerprint(Source(location=str(top)))
    (top / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert fingerprint(Source(location=str(top))) != before


def test_a_broken_hugging_face_directory_is_one_sentence(tmp_path):
    folder = saved_by_hugging_face(tmp_path / "saved", SAVED)
    wrong = {
        '{"_data_files": [{"filename": "../../secret.arrow"}]}': "which is not a name inside it",
        '{"_data_files": [{"filename": "gone.arrow"}]}': "lists gone.arrow, which is not there",
        '{"_data_files": []}': "lists no data files",
        '{"_data_files": [{"filename": "a"}], "_indices_files": [1]}': "keeps its rows by reference",
        "[]": "is not a JSON object",
        "{": "is not JSON",
    }
    for text, sentence in wrong.items():
        (folder / "state.json").write_text(text)
        with pytest.raises(SourceError, match=sentence):
            ingest(tmp_path, folder)
    with pytest.raises(SourceError, match="holds class 1, but there are 1 classes"):
        ingest(tmp_path, saved_by_hugging_face(tmp_path / "few", SAVED, names=("cat",)))


@pytest.fixture
def fetched(monkeypatch):
    from sklearn import datasets

    calls = []

    def use(bunch):
        def fetch(name, *, version, as_frame, parser):
            calls.append((name, version, as_frame, parser))
            if isinstance(bunch, Exception):
                raise bunch
            return bunch

        openml._frame.cache_clear()
        monkeypatch.setattr(datasets, "fetch_openml", fetch)
        return calls

    yield use
    openml._frame.cache_clear()


def test_openml_is_fetched_by_name_and_version_with_nominal_features_as_text(tmp_path, fetched):
    bunch = SimpleNamespace(
        data=np.array([[1.5, 0.0], [2.5, 1.0], [np.nan, np.nan]]),
        feature_names=["size", "colour"],
        categories={"colour": ["red", "blue"]},
        target=np.array(["a", "b", "a"], dtype=object),
    )
    calls = fetched(bunch)
    found = ingest(tmp_path, "openml:toys@3", Roles(features=("*",), label="label"))
    assert found.examples.select("size", "colour", "label").rows() == [(1.5, "red", "a"), (2.5, "blue", "b")]
    assert found.bad() == [(3, "missing value")]
    assert calls == [("toys", 3, False, "liac-arff")]
    assert len(fingerprint(Source(location="openml:toys@3"))) == 64


def test_openml_pixels_become_an_image(tmp_path, fetched):
    data = np.array([[0.0, 255.0], [1.0, 2.0]])
    names = ["pixel1", "pixel2"]
    fetched(SimpleNamespace(data=data, feature_names=names, categories={}, target=np.array([1, 2])))
    found = ingest(tmp_path, "openml:mnist@1", Roles(features=("image",), label="label", image_shape=(1, 2)))
    assert found.examples["image"].to_list() == [[0, 255], [1, 2]]


def test_openml_without_version_or_network_is_one_sentence(tmp_path, fetched):
    fetched(OSError("no route to host"))
    with pytest.raises(SourceError, match="must be openml:NAME@VERSION"):
        ingest(tmp_path, "openml:toys")
    with pytest.raises(SourceError, match="openml:toys@1 cannot be fetched from OpenML: no route to host"):
        ingest(tmp_path, "openml:toys@1")


def test_an_object_in_memory_becomes_a_version_like_the_same_rows_of_a_file(tmp_path):
    store = Store.create(tmp_path / "memory")
    expected = ingest(tmp_path / "file", parquet_file(tmp_path, TABLE))
    versions = [
        ingest_frame(store, "toys", TABLE, roles=XY),
        ingest_frame(store, "toys", TABLE.to_arrow(), roles=XY),
        ingest_frame(store, "toys", {"x": TABLE["x"].to_numpy(), "y": np.array(TABLE["y"].to_list())}, roles=XY),
    ]
    assert [str(one) for one in versions] == ["toys@1"] * 3
    assert store.dataset("toys").scan().collect().equals(expected.examples)
    assert store.record(versions[0].artifact).meta["counts"] == expected.counts
    assert str(ingest_frame(store, "toys", TABLE[:2], roles=XY)) == "toys@2"


def test_an_object_in_memory_is_held_to_the_contract_and_other_kinds_are_refused(tmp_path):
    store = Store.create(tmp_path / "memory")
    with pytest.raises(ContractError, match="1 of 4 rows of the object in memory break the contract"):
        ingest_frame(store, "toys", TABLE, roles=XY, contract=Contract(action="fail"))
    with pytest.raises(TypeError, match="must be a Polars DataFrame, an Arrow table or NumPy arrays by name, got list"):
        ingest_frame(store, "toys", [1, 2], roles=XY)
    with pytest.raises(SourceError, match="the arrays of the object in memory differ in rows: x 2, y 3"):
        ingest_frame(store, "toys", {"x": np.ones(2), "y": np.ones(3)}, roles=XY)
    images = {"image": np.zeros((2, 3, 3), dtype=np.uint8), "y": np.array([0, 1])}
    version = ingest_frame(store, "images", images, roles=Roles(features=("image",), label="y", image_shape=(3, 3)))
    assert store.dataset(str(version)).schema.features == (Feature(name="image", kind="image", shape=(3, 3)),)


def test_tabs_separate_the_cells_of_a_tsv_and_commas_do_not(tmp_path):
    path = csv_file(tmp_path, 'x\ty\n1\t"a\tb"\n2\tc,d\n3\n', "toys.tsv")
    found = ingest(tmp_path, path)
    assert found.examples["label"].to_list() == ["a\tb", "c,d"]
    assert found.bad() == [(4, "ragged row")]


def test_several_csv_files_are_one_source_with_places_in_each(tmp_path):
    (tmp_path / "data" / "more").mkdir(parents=True)
    csv_file(tmp_path / "data", "x,y\n1,a\n2\n", "a.csv")
    csv_file(tmp_path / "data" / "more", "x,y\n3,b\n4,c\nfive,d\n", "b.csv")
    (tmp_path / "data" / "notes.txt").write_text("not data")
    for run, location in (("one", tmp_path / "data"), ("two", tmp_path / "data" / "**" / "*.csv")):
        found = ingest(tmp_path / run, location)
        assert found.examples["x"].to_list() == [1.0, 3.0, 4.0]
        assert found.quarantine.select("source_file", "source_row", "rule").rows() == [
            ("a.csv", 3, "ragged row"),
            ("more/b.csv", 4, "not a number"),
        ]
    csv_file(tmp_path / "data", "x,z\n1,a\n", "c.csv")
    with pytest.raises(SourceError, match=r"b\.csv has another header than|c\.csv has another header than"):
        ingest(tmp_path, tmp_path / "data")
    with pytest.raises(ContractError, match=r"2 ragged row \(first: line 2 of a\.csv\)"):
        csv_file(tmp_path / "data", "x,y\n1\n1\n2,a\n", "a.csv")
        (tmp_path / "data" / "c.csv").unlink()
        ingest(tmp_path, tmp_path / "data", contract=Contract(actions={"ragged row": "fail"}))


def test_a_directory_of_several_formats_asks_for_one(tmp_path):
    (tmp_path / "data").mkdir()
    csv_file(tmp_path / "data", "x,y\n1,a\n", "a.csv")
    parquet_file(tmp_path / "data", TABLE)
    with pytest.raises(SourceError, match=r"holds files of several formats \(csv, parquet\); name the format"):
        ingest(tmp_path, tmp_path / "data")
    with pytest.raises(SourceError, match="matches files of several formats"):
        ingest(tmp_path, tmp_path / "data" / "*")
    assert Source(location=str(tmp_path / "data"), format="csv").kind() == "csv"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Series("y", list("abab"), dtype=pl.Categorical), pl.Series("y", list("cdcd"), dtype=pl.Categorical)),
        (
            pl.Series("y", [["a"], ["b"]] * 2, dtype=pl.List(pl.Categorical)),
            pl.Series("y", [["c"], ["d"]] * 2, dtype=pl.List(pl.Categorical)),
        ),
    ],
)
def test_frames_that_differ_in_their_categories_alone_are_told_apart(one, other):
    assert frame_fingerprint(one.to_frame()) != frame_fingerprint(other.to_frame())
    assert frame_fingerprint(one.to_frame()) == frame_fingerprint(one.clone().to_frame())


def test_another_dictionary_in_memory_is_another_data_set(tmp_path):
    store = Store.create(tmp_path / "store")
    for number, texts in enumerate((list("abab"), list("cdcd")), start=1):
        table = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": pa.array(texts).dictionary_encode()})
        assert str(ingest_frame(store, "toys", table, roles=XY)) == f"toys@{number}"
        assert sorted(store.sql("SELECT label FROM dataset.toys")["label"].to_list()) == sorted(texts)


def test_an_npz_array_that_promises_more_than_it_holds_is_refused_at_once(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1, 10**12)})
    with zipfile.ZipFile(tmp_path / "toys.npz", "w") as archive:
        archive.writestr("x.npy", stream.getvalue() + b"1234")
    with pytest.raises(SourceError, match=r"array 'x' .* its shape \(1, 1000000000000\) needs more or fewer bytes"):
        npz.columns(str(tmp_path / "toys.npz"))
