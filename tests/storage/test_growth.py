from dataclasses import replace

import polars as pl
import pytest

from storage.artifacts import Request
from storage.growth import files_since, grown_from, shares_all
from storage.store import Store
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_store

NEW = pl.DataFrame(
    {
        **{"example_id": ["toys:5", "toys:6"], "split": ["validation", "train"], "label": ["cat", "dog"]},
        **{"size": [6.0, 7.0], "fur": ["long", "none"], "source": ["web", "web"]},
    }
)
APPENDED = Request(kind="dataset", settings={"append": "toys"}, inputs={"dataset": DATASET.id})
CORRECTED = Request(kind="dataset", settings={"relabel": {}}, inputs={"dataset": APPENDED.id})


@pytest.fixture
def store(tmp_path) -> Store:
    """Toys with two rows more, then with a label layer."""
    store = toy_store(tmp_path)
    for request, table, rows in ((APPENDED, "examples", NEW), (CORRECTED, "labels", None)):
        before = store.record(request.inputs["dataset"])
        with store.write(request) as draft:
            draft.share(before.table("examples"))
            layer = pl.concat([ROWS, NEW]).select("example_id", pl.lit("cat").alias("label"))
            draft.add_table(table, layer if rows is None else rows)
            draft.meta.update({"schema": SCHEMA.to_json(), "counts": {"by_split": {}}})
    return store


def test_ancestors_come_nearest_first_and_say_whether_labels_were_corrected_since(store):
    found = [(one.record.id, one.relabelled) for one in grown_from(store.artifacts, CORRECTED.id)]
    assert found == [(APPENDED.id, True), (DATASET.id, True)]
    assert [(one.record.id, one.relabelled) for one in grown_from(store.artifacts, APPENDED.id)] == [
        (DATASET.id, False)
    ]
    assert list(grown_from(store.artifacts, DATASET.id)) == []


def test_rows_since_an_earlier_version_are_those_of_the_files_it_lacks(store):
    since = store.dataset(CORRECTED.id).since(store.record(DATASET.id))
    assert since is not None
    assert list(since.index("train")) == ["toys:6"]
    assert since.labels("train").tolist() == [0]
    assert store.dataset(CORRECTED.id).since(store.record(APPENDED.id)) is None


def test_files_are_shared_only_if_they_come_first(store):
    first, last = store.record(DATASET.id), store.record(APPENDED.id)
    assert shares_all(last, first, "examples")
    assert not shares_all(first, last, "examples")
    assert not shares_all(replace(last, files=last.files[::-1]), first, "examples")
    assert [file.rows for file in files_since(last, first, "examples")] == [2]


def test_blocks_hold_the_rows_of_a_split_in_order_and_no_more_than_asked(store):
    blocks = list(store.dataset(APPENDED.id).blocks("train", ("size",), 3))
    assert [len(one) for one in blocks] == [3, 1, 1]
    assert pl.concat(blocks)["size"].to_list() == [1.0, 2.0, 3.0, 5.0, 7.0]
