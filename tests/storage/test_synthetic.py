import numpy as np
import polars as pl
import pytest
from torch.utils.data import DataLoader

from storage.artifacts import Request
from storage.errors import CorruptError
from storage.export.rows import export_rows
from storage.index import ExampleIndex
from storage.schemas import DatasetSchema
from storage.store import Store
from storage.tables import synthetic_from_tables, synthetic_to_tables
from storage.values import Selection, SyntheticRows
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_selection, toy_store

GROUPED = DatasetSchema(
    features=SCHEMA.features, classes=("3", "7"), groups=("book", "web"), metadata=("source", "gap")
)
NUMBERED = ROWS.with_columns(
    pl.col("label").replace_strict({"cat": 3, "dog": 7}, return_dtype=pl.Int64),
    pl.col("source").alias("group"),
    pl.lit("wide").alias("gap"),
)
MADE = SyntheticRows(
    index=ExampleIndex(["toys:synthetic-a", "toys:synthetic-b"]),
    features=pl.DataFrame({"size": [2.5, 3.5], "fur": ["long", "short"]}),
    labels=np.array([0, 1]),
    parent_a=pl.Series(["toys:2", "toys:4"]),
    parent_b=pl.Series(["toys:0", "toys:1"]),
    gap=np.array([0.25, 0.5]),
    voters=pl.Series([["toys:0", "toys:2"], []], dtype=pl.List(pl.String)),
    method="by_hand",
    groups=np.array([0, 1]),
)


@pytest.fixture
def store(tmp_path) -> Store:
    """Toys 0, 2 and 4 kept, 1 dropped, the last one relabelled; and two rows between them."""
    found = toy_store(tmp_path, NUMBERED, GROUPED)
    selection = Selection(
        index=found.dataset("toys").index("train"),
        weights=np.array([1, 0, 2, 1], dtype=np.float32),
        reasons=np.array(["kept", "dropped", "kept", "kept"], dtype=object),
        labels=np.array([0, 1, 0, 0]),
        synthetic=MADE,
    )
    request = Request(kind="selection", settings={"rebalancer": {"method": "by_hand"}}, inputs={"dataset": DATASET.id})
    found.write_selection(request, selection, {})
    found.publish("subset", "toys-even", request.id)
    return found


def test_synthetic_rows_are_read_as_they_were_written(store):
    found = store.selection(store.version("subset", "toys-even").artifact).synthetic
    assert found.index == MADE.index
    assert found.features.equals(MADE.features)
    assert found.method == "by_hand"
    for name in ("labels", "gap", "groups"):
        np.testing.assert_array_equal(getattr(found, name), getattr(MADE, name))
    for name in ("parent_a", "parent_b", "voters"):
        assert getattr(found, name).to_list() == getattr(MADE, name).to_list()


def test_a_view_has_them_with_the_types_of_the_other_rows(store):
    rows = store.sql('SELECT * FROM subset."toys-even" ORDER BY example_id')
    assert rows["example_id"].to_list() == [*(f"toys:{one}" for one in (0, 1, 2, 4)), *MADE.index]
    assert rows["label"].to_list() == [3, 7, 3, 7, 3, 7]
    assert rows["new_label"].to_list() == [None, None, None, "3", None, None]
    assert rows["relabelled"].to_list() == [False, False, False, True, False, False]
    assert rows["split"].to_list() == ["train"] * 6
    assert rows["group"].to_list() == ["web", "web", "book", "web", "book", "web"]
    assert rows["weight"].to_list() == [1, 0, 2, 1, 1, 1]
    assert rows["synthetic"].to_list() == [False] * 4 + [True] * 2
    assert rows["parent_a"].to_list() == [None] * 4 + ["toys:2", "toys:4"]
    assert rows["gap"].to_list() == [None] * 4 + [0.25, 0.5]
    assert rows["voters"].to_list() == [None] * 4 + [["toys:0", "toys:2"], []]
    assert store.sql('SELECT count(*) AS n FROM subset."toys-even" WHERE synthetic')["n"][0] == 2
    store.publish_catalog()


def test_a_subset_without_any_is_as_it_was(store):
    toy_selection(store, [1, 0, 2, 1])
    assert store.sql('SELECT * FROM subset."toys-clean"').columns[-3:] == ["relabelled", "split", "group"]
    subset = store.subset("toys-clean")
    assert (len(subset), subset.num_synthetic, subset.synthetic.tolist()) == (3, 0, [False] * 3)


def test_loaders_meet_them_behind_the_kept_rows_as_rows_like_any(store):
    subset = store.subset("toys-even")
    assert list(subset.index) == ["toys:0", "toys:2", "toys:4", *MADE.index]
    assert subset.positions.tolist() == [0, 2, 3, 4, 5]
    assert subset.synthetic.tolist() == [False, False, False, True, True]
    assert subset.inputs.tolist() == [[1, 1, 0], [3, 1, 0], [5, 1, 0], [2.5, 1, 0], [3.5, 0, 1]]
    assert subset.labels.tolist() == [0, 0, 0, 0, 1]
    assert subset.weights.tolist() == [1, 2, 1, 1, 1]
    assert subset.groups.tolist() == [1, 0, 1, 0, 1]
    (batch,) = DataLoader(subset, batch_size=5)
    assert batch["example_id"][-1] == "toys:synthetic-b"
    assert batch["label"].tolist() == subset.labels.tolist()
    with pytest.raises(ValueError, match="2 of 5 ids are not among these 4 examples"):
        subset.with_targets(store.dataset("toys").index("train"), np.zeros((4, 2)))


def test_a_learner_gets_them_behind_all_examples_with_weight_one(store):
    selection = store.selection(store.version("subset", "toys-even").artifact)
    examples = store.dataset("toys").examples("train", selection)
    assert list(examples.index)[-2:] == list(MADE.index)
    assert examples.weights.tolist() == [1, 0, 2, 1, 1, 1]
    assert examples.labels.tolist() == [0, 1, 0, 0, 0, 1]
    assert examples.groups.tolist() == [1, 1, 0, 1, 0, 1]
    assert examples.inputs[-2:].tolist() == [[2.5, 1, 0], [3.5, 0, 1]]


def test_an_export_keeps_apart_what_the_data_set_calls_by_the_same_name(store):
    (*_, block) = export_rows(store, store.version("subset", "toys-even")).blocks()
    assert block["example_id"].to_list() == list(MADE.index)
    assert block["gap"].to_list() == [None, None]
    assert block["tamis_gap"].to_list() == [0.25, 0.5]
    assert block["label"].to_list() == [3, 7]
    assert block["given_label"].to_list() == [None, None]
    assert block["source"].to_list() == [None, None]
    assert block["group"].to_list() == ["book", "web"]
    assert block["size"].to_list() == [2.5, 3.5]


def test_tables_of_different_rows_are_damage():
    made, features = synthetic_to_tables(MADE).values()
    with pytest.raises(CorruptError, match="of different rows"):
        synthetic_from_tables(made, features.reverse(), "by_hand")


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="gap has 1 rows for 2 synthetic ones"):
        SyntheticRows(**{**vars(MADE), "gap": np.array([0.5])})
