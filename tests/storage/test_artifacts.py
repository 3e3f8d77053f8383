import json

import polars as pl
import pytest

from storage.artifacts import Artifacts, Request
from storage.errors import CorruptError, NotFoundError
from storage.files import Files

REQUEST = Request(kind="selection", settings={"b": 1, "a": [1, 2]}, inputs={"dataset": "dataset-1"}, seed=3)
TABLE = pl.DataFrame(
    {"example_id": ["d:a"], "weight": [1.0], "reason": ["kept"], "label": [None]},
    schema={"example_id": pl.String, "weight": pl.Float32, "reason": pl.String, "label": pl.Int64},
)


def write(artifacts: Artifacts, request: Request = REQUEST) -> None:
    with artifacts.write(request) as draft:
        draft.add_table("selection", TABLE)
        draft.meta["kept"] = 1


def test_what_is_read_equals_what_was_written(tmp_path):
    artifacts = Artifacts(Files(tmp_path))
    write(artifacts)
    record = artifacts.record(REQUEST.id)
    assert record.request == REQUEST
    assert record.meta == {"kept": 1}
    assert record.rows("selection") == 1
    (file,) = record.table("selection")
    assert pl.read_parquet(tmp_path / file.path).equals(TABLE)
    assert artifacts.ids() == [REQUEST.id]


def test_the_id_hashes_everything_that_makes_the_artifact():
    same = Request(kind="selection", settings={"a": [1, 2], "b": 1}, inputs={"dataset": "dataset-1"}, seed=3)
    others = [
        Request(kind="scores", settings=REQUEST.settings, inputs=REQUEST.inputs, seed=3),
        Request(kind="selection", settings={"b": 2, "a": [1, 2]}, inputs=REQUEST.inputs, seed=3),
        Request(kind="selection", settings=REQUEST.settings, inputs={"dataset": "dataset-2"}, seed=3),
        Request(kind="selection", settings=REQUEST.settings, inputs=REQUEST.inputs, seed=4),
        Request(kind="selection", settings=REQUEST.settings, inputs=REQUEST.inputs, seed=3, revision=2),
    ]
    assert same.id == REQUEST.id
    assert len({REQUEST.id, *(other.id for other in others)}) == 6


def test_a_failed_write_leaves_nothing_visible(tmp_path):
    artifacts = Artifacts(Files(tmp_path))
    with pytest.raises(RuntimeError, match="half way"), artifacts.write(REQUEST) as draft:
        draft.add_table("selection", TABLE)
        raise RuntimeError("half way")
    assert not artifacts.has(REQUEST.id)
    assert list(tmp_path.rglob("*.parquet")) == []


def test_the_first_of_two_writers_stays(tmp_path):
    artifacts = Artifacts(Files(tmp_path))
    with artifacts.write(REQUEST) as slow:
        slow.add_table("selection", TABLE)
        write(artifacts)
        before = artifacts.record(REQUEST.id)
    assert artifacts.record(REQUEST.id) == before
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_tables_are_checked_on_write(tmp_path):
    artifacts = Artifacts(Files(tmp_path))
    with pytest.raises(CorruptError, match="lacks the column 'reason'"), artifacts.write(REQUEST) as draft:
        draft.add_table("selection", TABLE.drop("reason"))
    with pytest.raises(CorruptError, match="must be Float32, got Float64"), artifacts.write(REQUEST) as draft:
        draft.add_table("selection", TABLE.cast({"weight": pl.Float64}))
    with pytest.raises(CorruptError, match="have no table 'scores'"), artifacts.write(REQUEST) as draft:
        draft.add_table("scores", TABLE)


def test_a_broken_record_is_one_clear_error(tmp_path):
    artifacts = Artifacts(Files(tmp_path))
    write(artifacts)
    path = tmp_path / "artifacts" / REQUEST.id / "record.json"
    raw = json.loads(path.read_text())
    path.write_text(path.read_text()[:40])
    with pytest.raises(CorruptError, match="cannot be read"):
        artifacts.record(REQUEST.id)
    path.write_text(json.dumps({**raw, "schema_version": 99}))
    with pytest.raises(CorruptError, match="written by a newer tamis"):
        artifacts.record(REQUEST.id)
    with pytest.raises(NotFoundError, match="no artifact 'selection-0'"):
        artifacts.record("selection-0")
