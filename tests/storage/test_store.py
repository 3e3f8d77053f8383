import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import storage
from storage.artifacts import Request
from storage.errors import CorruptError, NotFoundError
from storage.index import ExampleIndex
from storage.store import Store
from storage.tables import signals_to_table
from storage.values import Scores
from tests.storage.houses import DATASET, toy_selection, toy_store


def test_importing_storage_loads_neither_torch_nor_prefect_nor_duckdb():
    code = "import sys, storage; print(sorted({'torch', 'prefect', 'duckdb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_package_offers_the_store():
    assert storage.Store is Store
    with pytest.raises(AttributeError, match="no attribute 'Shop'"):
        storage.Shop  # noqa: B018


def test_a_store_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(NotFoundError, match="there is no store at"):
        Store.open(tmp_path)
    Store.create(tmp_path / "new")
    assert Store.open(tmp_path / "new").names("dataset") == []


def test_a_directory_with_other_things_is_not_taken_over(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and not a tamis store"):
        Store.create(tmp_path)


def test_scores_come_back_as_they_were(tmp_path):
    store = Store.create(tmp_path)
    index = ExampleIndex(["d:a", "d:b"])
    scores = Scores(
        index=index,
        values=np.array([0.25, 1.5]),
        high_means="hard",
        standard_error=np.array([0.1, 0.2]),
        columns={"flag": np.array([True, False]), "suggested": np.array([1, 2])},
    )
    request = Request(kind="scores", settings={})
    store.write_scores(request, scores, {"scorer": "x"})
    read = store.scores(request.id)
    assert read.index == index
    assert read.high_means == "hard"
    assert np.array_equal(read.values, scores.values)
    assert np.array_equal(read.standard_error, scores.standard_error)
    assert read.columns["flag"].tolist() == [True, False]
    assert read.columns["suggested"].tolist() == [1, 2]


def test_signals_of_several_seeds_are_stacked(tmp_path):
    store = Store.create(tmp_path)
    index = ExampleIndex(["d:a", "d:b", "d:c"])
    rng = np.random.default_rng(0)
    seeds = [rng.normal(size=(3, 2, 4)).astype(np.float32) for _ in range(2)]
    ids = []
    for number, array in enumerate(seeds):
        request = Request(kind="training", settings={}, seed=number)
        ids.append(request.id)
        with store.write(request) as draft:
            frame, meta = signals_to_table(
                index, {"logits": array, "other": array}, {"logits": (1, 5), "other": (1, 5)}
            )
            draft.add_table("signals", frame)
            draft.meta.update(meta)
    signals = store.signals(ids, ("logits",), {"label": np.array([0, 1, 2])})
    assert signals["logits"].shape == (2, 3, 2, 4)
    assert np.array_equal(signals.at_epoch("logits", 5), np.stack(seeds)[:, :, 1])
    assert signals["label"].tolist() == [0, 1, 2]
    assert "other" not in signals


def test_a_subset_goes_straight_into_a_data_loader(tmp_path):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 2, 1])
    subset = store.subset("toys-clean@1")
    assert len(subset) == 3
    assert list(subset.index) == ["toys:0", "toys:2", "toys:4"]
    (batch,) = DataLoader(subset, batch_size=3)
    assert torch.equal(batch["label"], torch.tensor([0, 0, 1]))
    assert torch.equal(batch["position"], torch.tensor([0, 2, 3]))
    assert torch.equal(batch["weight"], torch.tensor([1.0, 2.0, 1.0]))
    assert batch["input"].shape == (3, 3)
    assert batch["example_id"] == ["toys:0", "toys:2", "toys:4"]
    with pytest.raises(IndexError, match="row 3 of 3 in toys-clean@1"):
        subset[3]


def test_a_subset_version_that_does_not_exist_lists_those_that_do(tmp_path):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 1, 1])
    with pytest.raises(NotFoundError, match="'toys-clean' has no version 7; it has toys-clean@1"):
        store.subset("toys-clean@7")


def test_a_truncated_table_is_one_clear_error(tmp_path):
    store = toy_store(tmp_path)
    artifact = toy_selection(store, [1, 0, 1, 1])
    (file,) = store.record(artifact).table("selection")
    path = tmp_path / file.path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptError, match=rf"{artifact}/.* cannot be read: it has \d+ bytes and its record says \d+;"):
        store.selection(artifact)


def test_only_complete_artifacts_can_be_published(tmp_path):
    with pytest.raises(NotFoundError, match="no artifact 'dataset-0'"):
        toy_store(tmp_path).publish("dataset", "toys", "dataset-0")


def test_a_checkpoint_is_replaced_and_forgotten(tmp_path):
    store = Store.create(tmp_path)
    arrays = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3)}
    assert store.checkpoints.load(DATASET.id) is None
    store.checkpoints.save(DATASET.id, {"a/b": np.zeros(1)}, {"epoch": 1})
    store.checkpoints.save(DATASET.id, arrays, {"epoch": 2, "note": "ä"})
    loaded, card = store.checkpoints.load(DATASET.id)
    assert card == {"epoch": 2, "note": "ä"}
    assert np.array_equal(loaded["a/b"], arrays["a/b"])
    assert loaded["n"] == 3
    path = tmp_path / "checkpoints" / f"{DATASET.id}.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:50], b"", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match=r"is damaged; remove .*\.safetensors, and the training starts anew"):
            store.checkpoints.load(DATASET.id)
    store.checkpoints.remove(DATASET.id)
    assert store.checkpoints.load(DATASET.id) is None


def test_notes_are_remembered(tmp_path):
    store = Store.create(tmp_path)
    assert store.remembered("runs", "abc") is None
    store.remember("runs", "abc", {"report": "r"})
    assert store.remembered("runs", "abc") == {"report": "r"}


def test_tables_are_checked_on_read_too(tmp_path):
    store = toy_store(tmp_path)
    whole = store.table(toy_selection(store, [1, 0, 1, 1]), "selection")
    request = Request(kind="selection", settings={"written": "by hand"})
    with store.write(request) as draft:
        with draft.writing("selection-00000.parquet") as path:
            whole.drop("reason").write_parquet(path)
        draft.add("selection", "selection-00000.parquet")
    with pytest.raises(CorruptError, match="table 'selection' of a selection lacks the column 'reason'"):
        store.selection(request.id)
