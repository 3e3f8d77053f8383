import os
import pickle
import stat
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from storage import handover
from storage.index import ExampleIndex
from storage.schemas import DatasetSchema, Feature
from storage.store import Store
from storage.values import Schedule, Selection
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_selection, toy_store

GROUPED = DatasetSchema(
    features=SCHEMA.features, classes=SCHEMA.classes, groups=("book", "web"), metadata=SCHEMA.metadata
)


@pytest.fixture
def subset(tmp_path):
    """Rows 0, 2 and 4 of the toys: weights 1, 2, 1; the last one relabelled; with groups."""
    store = toy_store(tmp_path, ROWS.with_columns(pl.col("source").alias("group")), GROUPED)
    toy_selection(store, [1, 0, 2, 1], labels=[0, 1, 0, 0])
    return store.subset("toys-clean")


def handovers(root: Path) -> list[Path]:
    return list((root / "artifacts").glob("handover-*"))


def test_an_item_has_all_that_is_known_of_the_row(subset):
    item = subset[2]
    assert item["input"].tolist() == [5.0, 1.0, 0.0]
    assert {name: value for name, value in item.items() if name != "input"} == {
        "label": 0,
        "weight": 1.0,
        "position": 3,
        "group": 1,
        "example_id": "toys:4",
    }
    assert subset[-1]["example_id"] == "toys:4"
    with pytest.raises(IndexError, match="row -4 of 3 in toys-clean@1"):
        subset[-4]
    with pytest.raises(IndexError, match="rows 0 to 3 of 3 in toys-clean@1"):
        subset.__getitems__([0, 3])


def test_rows_asked_for_together_are_those_asked_for_singly(subset):
    rows = [2, 0, -1]
    together, columns = subset.__getitems__(rows), subset[rows]
    for place, row in enumerate(rows):
        assert set(together[place]) == set(columns) == set(subset[row])
        for name, value in subset[row].items():
            np.testing.assert_array_equal(together[place][name], value)
            np.testing.assert_array_equal(columns[name][place], value)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_data_loader_with_workers_gives_what_one_without_gives(subset, start):
    (alone,) = DataLoader(subset, batch_size=3)
    (worked,) = DataLoader(subset, batch_size=3, num_workers=1, multiprocessing_context=start)
    assert alone["example_id"] == worked["example_id"] == ["toys:0", "toys:2", "toys:4"]
    for name in ("input", "label", "weight", "position", "group"):
        assert torch.equal(alone[name], worked[name])


def test_whole_batches_are_gathered_when_lists_of_rows_are_the_items(subset):
    sampler = BatchSampler(SequentialSampler(subset), batch_size=2, drop_last=False)
    batches = list(DataLoader(subset, batch_size=None, sampler=sampler))
    assert [batch["label"].tolist() for batch in batches] == [[0, 0], [0]]
    assert batches[0]["input"].shape == (2, 3)


def test_rows_are_joined_once_and_mapped_ever_after(subset, tmp_path, monkeypatch):
    (place,) = handovers(tmp_path)
    monkeypatch.setattr(handover, "_columns", None)
    again = Store.open(tmp_path).subset("toys-clean@1")
    assert handovers(tmp_path) == [place]
    assert isinstance(again.inputs, np.memmap)
    np.testing.assert_array_equal(again.inputs, subset.inputs)


def test_what_is_pickled_names_files_and_holds_no_rows(tmp_path):
    rows = pl.DataFrame(
        {
            "example_id": [f"toys:{row}" for row in range(5000)],
            "split": "train",
            "label": "cat",
            "size": np.arange(5000.0),
            "fur": "long",
        }
    )
    store = toy_store(tmp_path, rows)
    toy_selection(store, [1.0] * 5000)
    subset = store.subset("toys-clean")
    assert subset.index == store.dataset("toys").index("train")
    packed = pickle.dumps(subset)
    assert len(packed) < 4000
    copy = pickle.loads(packed)
    assert copy[4321]["example_id"] == "toys:4321"
    assert copy[4321]["input"][0] == 4321
    assert isinstance(copy.inputs, np.memmap)


def test_images_in_many_parts_come_in_the_order_of_the_split(tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "ROWS_AT_A_TIME", 7)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 12), dtype=np.uint8)
    splits = np.where(np.arange(40) % 3 == 1, "test", "train")
    rows = pl.DataFrame(
        {
            "example_id": [f"toys:{row}" for row in range(40)],
            "split": splits,
            "label": ["cat", "dog"] * 20,
            "image": pl.Series(images),
        }
    )
    schema = DatasetSchema(features=(Feature(name="image", kind="image", shape=(3, 4)),), classes=("cat", "dog"))
    store = toy_store(tmp_path, rows, schema)
    train = np.flatnonzero(splits == "train")
    kept = rng.random(len(train)) < 0.5
    toy_selection(store, kept.astype(float).tolist())
    subset = store.subset("toys-clean")
    np.testing.assert_array_equal(subset.inputs, images[train[kept]].reshape(-1, 3, 4))
    np.testing.assert_array_equal(subset.labels, (train[kept] % 2))
    np.testing.assert_array_equal(subset.positions, np.flatnonzero(kept))


def test_a_store_that_cannot_be_written_hands_over_from_memory(tmp_path, monkeypatch):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 2, 1])

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "write", refused)
    subset = store.subset("toys-clean")
    assert handovers(tmp_path) == []
    assert not isinstance(subset.inputs, np.memmap)
    copy = pickle.loads(pickle.dumps(subset))
    assert copy[1]["example_id"] == subset[1]["example_id"] == "toys:2"


def test_a_full_disk_is_not_taken_for_a_store_that_cannot_be_written(tmp_path, monkeypatch):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 2, 1])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(handover, "write_array_header_1_0", full)
    with pytest.raises(OSError, match="No space left"):
        store.subset("toys-clean")
    assert handovers(tmp_path) == []


def test_a_subset_that_keeps_nothing_is_empty(tmp_path):
    store = toy_store(tmp_path)
    toy_selection(store, [0, 0, 0, 0])
    for subset in (store.subset("toys-clean"), store.subset("toys-clean")):
        assert len(subset) == len(subset.index) == 0
        assert subset[[]]["input"].shape == (0, 3)
        with pytest.raises(IndexError, match="row 0 of 0"):
            subset[0]


def test_targets_follow_the_ids_whatever_order_they_come_in(subset):
    index = ExampleIndex(["toys:4", "toys:1", "toys:0", "toys:2"])
    targets = [[0.4, 0.6], [0.1, 0.9], [0.0, 1.0], [0.2, 0.8]]
    soft = subset.with_targets(index, targets)
    np.testing.assert_allclose(soft.targets, [[0.0, 1.0], [0.2, 0.8], [0.4, 0.6]], atol=1e-7)
    assert soft[2]["target"].dtype == np.float32
    assert subset.targets is None
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(soft)).targets, soft.targets)
    with pytest.raises(ValueError, match="first: 'toys:2'"):
        subset.with_targets(ExampleIndex(["toys:0", "toys:4"]), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"targets must be \(4, 2\), got \(4, 3\)"):
        subset.with_targets(index, np.zeros((4, 3)))


def test_the_rows_of_a_mapped_subset_can_be_scribbled_on_without_touching_the_store(subset, tmp_path):
    before = subset.inputs[0].copy()
    subset.inputs[0] = 99
    np.testing.assert_array_equal(Store.open(tmp_path).subset("toys-clean").inputs[0], before)


def test_a_schedule_is_stored_with_its_selection(tmp_path):
    store = toy_store(tmp_path)
    identifier = toy_selection(store, [1, 1, 1, 1])
    assert store.selection(identifier).schedule is None
    plain = store.selection(identifier)
    schedule = Schedule(rule="dealt", fraction=0.5, seed=3)
    from storage.artifacts import Request

    request = Request(kind="selection", settings={"rs": 1}, inputs={"dataset": DATASET.id})
    selection = Selection(index=plain.index, weights=plain.weights, reasons=plain.reasons, schedule=schedule)
    store.write_selection(request, selection, {})
    store.publish("subset", "toys-rs", request.id)
    assert store.selection(request.id).schedule == schedule
    assert store.subset("toys-rs").schedule == schedule


def test_the_files_of_a_hand_over_are_checked_and_swept_like_any_other(subset, tmp_path):
    from storage.fsck import check_store
    from storage.sweep import Sweep

    store = Store.open(tmp_path)
    assert list(check_store(store.files)) == []
    list(Sweep(store.files, grace_seconds=0).remove())
    assert handovers(tmp_path) == []
    assert subset[0]["example_id"] == "toys:0"
    assert store.subset("toys-clean")[0]["example_id"] == "toys:0"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_a_store_that_cannot_be_written(tmp_path):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 2, 1])
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert len(store.subset("toys-clean")) == 3
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)


def test_a_mask_is_refused_since_it_would_be_taken_for_rows_0_and_1(subset):
    with pytest.raises(TypeError, match=r"not as a mask; take numpy\.flatnonzero"):
        subset[np.array([False, False, True])]
