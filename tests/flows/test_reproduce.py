import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.scorers.el2n import EL2N
from curation.selectors.random import Random
from flows import cli
from flows.config import load_recipe
from flows.curate_and_train import curate_and_train
from flows.reproduce_version import Check, reproduce_version
from flows.step import show_nothing
from storage.errors import SourceError
from storage.ingest.memory import ingest_frame
from storage.schemas import Roles
from storage.store import Store
from tests.flows.recipes import small_recipe
from tests.storage.houses import toy_selection, toy_store

NO_TRAINING = (
    "name=table",
    "columns={features=['size'], label='kind', key='row'}",
    "model={method='mlp'}",
    "scorers={}",
    "arms=[]",
    "selection={subset='half', method='random', fraction=0.5}",
)


def write_table(path: Path, shift: float = 0.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    rows = range(60)
    kinds = [("a", "b")[row % 2] for row in rows]
    pl.DataFrame({"row": rows, "size": [row + shift for row in rows], "kind": kinds}).write_csv(path)
    return path


@pytest.fixture
def halved(tmp_path) -> Store:
    """A store with a table, planted noise and a random half of it."""
    source = write_table(tmp_path / "table.csv")
    store = Store.create(tmp_path / "store")
    curate_and_train(store, small_recipe(f"source.location={source}", *NO_TRAINING), show_nothing)
    return store


def checks(store: Store, reference: str = "half@1", kind: str = "subset", *locations: str) -> list[Check]:
    return list(reproduce_version(store, store.version(kind, reference), locations, show_nothing))


def edit_record(store: Store, kind: str, change) -> str:
    """Change the record of the store's last artifact of a kind by hand; the artifact's id."""
    artifact = store.version(kind, store.names(kind)[0]).artifact
    path = store.root / "artifacts" / artifact / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return artifact


def rewrite(store: Store, file: dict, change) -> None:
    """Write a Parquet file of the store anew, and its hash with it, as another machine would have."""
    path = store.root / file["path"]
    change(pl.read_parquet(path.read_bytes())).write_parquet(path)
    file["size_bytes"], file["sha256"] = store.files.sealed(file["path"])


def test_a_trained_and_selected_version_is_reproduced_hash_by_hash(finished, capsys):
    store, _ = finished
    with pytest.raises(SystemExit) as stop:
        cli.main(["reproduce", "digits-clean@1", "--store", str(store.root)])
    # Two data sets, two ELR trainings, one score, one selection.
    assert capsys.readouterr().out == "reproduced: 6 artifacts, every hash equal\n"
    assert not stop.value.code


def test_every_artifact_is_checked_inputs_first_and_the_store_stays_as_it_was(halved):
    before = {path: path.stat().st_mtime_ns for path in halved.root.rglob("*")}
    found = checks(halved)
    assert [check.artifact.partition("-")[0] for check in found] == ["dataset", "dataset", "selection"]
    assert found[-1].artifact == halved.version("subset", "half").artifact
    assert all(check.difference is None for check in found)
    assert {path: path.stat().st_mtime_ns for path in halved.root.rglob("*")} == before


def test_a_source_with_other_content_is_named_before_anything_is_rebuilt(halved, tmp_path):
    write_table(tmp_path / "table.csv", shift=1.0)
    (check,) = checks(halved)
    assert check.difference.startswith("data: the fingerprint of ")
    assert "table.csv was " in check.difference


def test_a_source_that_moved_is_found_by_its_content(halved, tmp_path):
    (tmp_path / "table.csv").unlink()
    with pytest.raises(SourceError, match=r"there is no file .*table\.csv; if the source has moved.*--location"):
        checks(halved)
    moved, other = write_table(tmp_path / "moved" / "t.csv"), write_table(tmp_path / "other.csv", shift=2.0)
    found = checks(halved, "half@1", "subset", str(other), str(moved))
    assert [check.difference for check in found] == [None, None, None]


def test_a_raised_revision_is_named(halved, finished, monkeypatch):
    monkeypatch.setattr(Random, "revision", 4)
    (check,) = checks(halved)
    assert check.difference == "method revision: selector 'random' had revision 1 and has 4 now"
    monkeypatch.setattr(EL2N, "revision", 7)
    (check,) = checks(finished[0], "digits@1", "scored")
    assert check.difference == "method revision: scorer 'el2n' had revision 1 and has 7 now"


def test_floats_that_differ_point_to_hardware_and_say_by_how_much(halved):
    def nudge(record: dict) -> None:
        heavier = (pl.col("weight") + (pl.col("weight") > 0) * 2.0**-20).cast(pl.Float32)
        rewrite(halved, record["files"][0], lambda frame: frame.with_columns(weight=heavier))

    edit_record(halved, "subset", nudge)
    kept = halved.record(halved.version("subset", "half").artifact).meta["kept"]
    rows = halved.record(halved.version("subset", "half").artifact).rows("selection")
    assert checks(halved)[-1].difference == (
        f"table 'selection': weight ({kept} of {rows} rows, by at most 9.54e-07) differ; "
        "the likely reason is hardware or number of threads"
    )


def test_texts_that_differ_point_to_the_code_and_packages_are_named(halved):
    def alter(record: dict) -> None:
        rewrite(halved, record["files"][0], lambda frame: frame.with_columns(reason=pl.lit("because")))
        record["versions"]["numpy"] = "0.1"

    edit_record(halved, "subset", alter)
    difference = checks(halved)[-1].difference
    assert "reason (" in difference
    assert "the likely reason is the code that made it, or a package" in difference
    assert f"package versions: numpy was 0.1 and is {np.__version__}" in difference


def test_other_rows_other_columns_and_other_bytes_are_told_apart(halved):
    original = halved.version("subset", "half").artifact
    path = halved.root / "artifacts" / original / "record.json"
    whole = path.read_text()
    file = halved.root / halved.record(original).files[0].path
    content = file.read_bytes()
    for change, sentence in (
        (lambda frame: frame.head(3), "example_id (3 rows became"),
        (lambda frame: frame.with_columns(more=1), "its columns were example_id, weight, reason, label, more and are"),
        (lambda frame: frame.with_columns(pl.col("weight")), "the values are the same, the bytes of the file are not"),
    ):
        edit_record(halved, "subset", lambda record, change=change: rewrite(halved, record["files"][0], change))
        assert sentence in checks(halved)[-1].difference
        path.write_text(whole)
        file.write_bytes(content)


def test_a_damaged_file_and_a_record_that_fits_nothing_are_named(halved):
    edit_record(halved, "subset", lambda record: record["files"][0].update(sha256="0" * 64))
    assert "is damaged, its hash is not the recorded one" in checks(halved)[-1].difference


def test_a_setting_that_is_gone_is_the_difference(halved, monkeypatch):
    def refuse(*_):
        raise ValueError("unknown key 'fraction' in selection")

    monkeypatch.setattr("flows.select_examples.resolve.method", refuse)
    last = checks(halved)[-1]
    assert last.difference == "it could not be rebuilt: unknown key 'fraction' in selection"


def test_a_record_of_another_layout_is_the_difference(halved, monkeypatch):
    monkeypatch.setattr("storage.artifacts.SCHEMA_VERSION", 99)
    (check,) = checks(halved)
    assert check.difference.startswith("schema version: the artifact was written under ")


def test_data_from_memory_has_no_source_to_read_again(tmp_path):
    store = Store.create(tmp_path)
    rows = pl.DataFrame({"size": range(20), "kind": ["a", "b"] * 10})
    ingest_frame(store, "mem", rows, roles=Roles(features=("size",), label="kind"))
    with pytest.raises(ValueError, match="cannot be rebuilt: it was made from memory, which keeps no source"):
        checks(store, "mem@1", "dataset")


def test_a_tag_can_be_reproduced_and_compared(halved, capsys):
    halved.tag("subset", "best", "half@1")
    for arguments in (("reproduce", "best"), ("diff", "best", "half@1")):
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments, "--store", str(halved.root)])
        assert not stop.value.code
        assert capsys.readouterr().out


def test_what_no_step_made_cannot_be_rebuilt(tmp_path):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 1, 1])
    with pytest.raises(ValueError, match=r"no step makes a dataset from the settings name; it was brought in by hand"):
        checks(store, "toys-clean@1")


def test_the_command_ends_with_an_error_that_names_the_first_difference(halved, tmp_path, capsys):
    write_table(tmp_path / "table.csv", shift=1.0)
    with pytest.raises(SystemExit) as stop:
        cli.main(["reproduce", "half@1", "--store", str(halved.root)])
    captured = capsys.readouterr()
    assert stop.value.code == 1
    assert captured.out == ""
    assert "tamis: half@1 is not reproduced: dataset-" in captured.err.splitlines()[-1]
    assert "data: the fingerprint of" in captured.err.splitlines()[-1]


def test_a_copy_of_the_store_elsewhere_is_reproduced_too(halved, tmp_path):
    shutil.copytree(halved.root, tmp_path / "copy")
    assert all(check.difference is None for check in checks(Store.open(tmp_path / "copy")))


def ingest_by_hand(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert not stop.value.code


@pytest.fixture
def by_hand(tmp_path, monkeypatch, capsys) -> Store:
    """A store with data set `x`: ingested with labels of a second file, then appended to, then corrected."""
    monkeypatch.setenv("TAMIS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.csv").write_text("id,x\n1,1.5\n2,2.5\n3,-1\n")
    (tmp_path / "two.csv").write_text("id,x\n3,9.9\n4,4.5\n1,7\n")
    (tmp_path / "kinds.csv").write_text("id,kind\n1,a\n2,b\n3,a\n4,b\n")
    (tmp_path / "fix.csv").write_text("key,label\n1,b\n")
    (tmp_path / "rules.toml").write_text("[columns.x]\nminimum = 0\n")
    second = ("--labels", "kinds.csv", "--label-key", "id")
    columns = ("--label", "kind", "--key", "id", "--features", "x", "--contract", "rules.toml")
    ingest_by_hand("ingest", "one.csv", "--name", "x", *columns, *second)
    ingest_by_hand("ingest", "two.csv", "--name", "x", "--append", *second)
    ingest_by_hand("relabel", "x", "fix.csv", "--by", "ada", "--why", "looked")
    capsys.readouterr()
    return Store.open(tmp_path / "store")


def test_ingests_appends_and_corrections_by_hand_are_reproduced(by_hand):
    assert len(by_hand.dataset("x@3")) == 4
    for version, artifacts in (("x@1", 1), ("x@2", 2), ("x@3", 3)):
        assert [check.difference for check in checks(by_hand, version, "dataset")] == [None] * artifacts


@pytest.mark.parametrize(("changed", "text"), [("two.csv", "id,x\n3,8\n"), ("kinds.csv", "id,kind\n1,b\n2,b\n")])
def test_a_changed_file_behind_an_append_is_named(by_hand, tmp_path, changed, text):
    (tmp_path / changed).write_text(text)
    difference = checks(by_hand, "x@3", "dataset")[-1].difference
    assert difference.startswith("data: the fingerprint of ")


@pytest.mark.parametrize("prefix", ["", "renamed-"])
def test_files_behind_several_versions_are_found_where_they_have_moved(by_hand, tmp_path, prefix):
    (tmp_path / "moved").mkdir()
    names = ("fix.csv", "one.csv", "two.csv", "kinds.csv")
    moved = [str((tmp_path / name).rename(tmp_path / "moved" / f"{prefix}{name}")) for name in names]
    with pytest.raises(SourceError, match="if the source has moved"):
        checks(by_hand, "x@3", "dataset")
    assert [check.difference for check in checks(by_hand, "x@3", "dataset", *moved)] == [None] * 3


def test_a_record_whose_seed_was_changed_is_the_difference(halved):
    edit_record(halved, "subset", lambda record: record["request"].update(seed=7))
    difference = checks(halved)[-1].difference
    assert difference.startswith("seed or settings: its record gives the id selection-")
    assert "its seed (7), settings or inputs are not those it was made with" in difference


def test_a_drawn_sample_is_reproduced(tmp_path):
    source = write_table(tmp_path / "table.csv")
    store = Store.create(tmp_path / "store")
    curate_and_train(store, small_recipe(f"source.location={source}", "limit=20", *NO_TRAINING), show_nothing)
    assert [check.difference for check in checks(store)] == [None] * 4


def test_a_raised_revision_of_the_network_is_named(finished, monkeypatch):
    store, _ = finished
    monkeypatch.setattr("learners.models.small_cnn.SmallCNN.revision", 2)
    last = checks(store, "digits-clean@1")[-1]
    assert last.artifact.startswith("training-")
    assert last.difference == "method revision: model 'small_cnn' had revision 1 and has 2 now"


def test_a_network_of_a_later_revision_is_reproduced_while_that_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("learners.models.mlp.MLP.revision", 3)
    source = write_table(tmp_path / "table.csv")
    store = Store.create(tmp_path / "store")
    overrides = (
        f"source.location={source}",
        *NO_TRAINING[:3],
        "training={epochs=1, batch_size=8}",
        "seeds=1",
        "noise={method='symmetric', rate=0.2}",
        "learners={plain={method='erm', record={logits='last'}}}",
        "scorers={loss={method='loss', signals='plain'}}",
        "selection={subset='half', method='top_fraction', score='loss', fraction=0.5, keep='low'}",
        "arms=[]",
    )
    curate_and_train(store, load_recipe("digits", overrides), show_nothing)
    assert all(check.difference is None for check in checks(store))
    monkeypatch.setattr("learners.models.mlp.MLP.revision", 4)
    assert checks(store)[-1].difference == "method revision: model 'mlp' had revision 3 and has 4 now"
