import os
import subprocess
import sys
import time

import numpy as np
import pytest

from storage.artifacts import Request
from storage.errors import CorruptError, NotFoundError
from storage.fsck import check_store
from storage.index import ExampleIndex
from storage.sweep import Sweep
from storage.values import Scores
from tests.storage.houses import DATASET, toy_selection, toy_store

WEEK = 7 * 24 * 3600.0


@pytest.fixture
def store(tmp_path):
    made = toy_store(tmp_path / "store")
    toy_selection(made, [1, 0, 1, 1])
    return made


def write_scores(store, name: str, dataset: str = DATASET.id) -> str:
    request = Request(kind="scores", settings={"name": name}, inputs={"dataset": dataset})
    scores = Scores(index=ExampleIndex(["toys:0"]), values=np.array([1.0]), high_means="hard")
    store.write_scores(request, scores, {})
    return request.id


def grow_old(store, seconds: float) -> None:
    """Make everything in the store look older."""
    for path in store.root.rglob("*"):
        changed = path.stat().st_mtime - seconds
        os.utime(path, (changed, changed))


def found(store, seconds: float = WEEK) -> list[tuple[str, str]]:
    return [(one.what, one.path) for one in Sweep(store.files, grace_seconds=seconds).find()]


def test_only_old_artifacts_that_no_version_reaches_go(store):
    old = write_scores(store, "old")
    grow_old(store, WEEK + 60)
    young = write_scores(store, "young")
    assert found(store) == [("artifact", f"artifacts/{old}")]
    removed = list(Sweep(store.files).remove())
    assert [one.path for one in removed] == [f"artifacts/{old}"]
    assert removed[0].size_bytes > 0
    assert len(removed[0].files) == 2
    assert store.has(young)
    assert not (store.root / "artifacts" / old).exists()
    assert list(check_store(store.files)) == []
    assert len(store.subset("toys-clean")) == 3


def test_finding_removes_nothing(store):
    write_scores(store, "old")
    grow_old(store, WEEK + 60)
    before = sorted(store.root.rglob("*"))
    assert len(found(store)) == 1
    assert sorted(store.root.rglob("*")) == before


def test_an_old_artifact_stays_while_a_young_one_is_made_from_it(store):
    request = Request(kind="dataset", settings={"other": 1})
    with store.write(request) as draft:
        draft.share(store.record(DATASET.id).table("examples"))
    grow_old(store, WEEK + 60)
    write_scores(store, "young", request.id)
    assert found(store) == []


def test_what_was_made_from_an_artifact_that_is_swept_meanwhile_is_never_published(store):
    old = write_scores(store, "old")
    grow_old(store, WEEK + 60)
    request = Request(kind="scores", settings={"name": "new"}, inputs={"dataset": DATASET.id, "earlier": old})
    with (
        pytest.raises(NotFoundError, match=f"{old} was removed by `tamis gc` while .* run it again"),
        store.write(request) as draft,
    ):
        draft.share(store.record(old).files)
        list(Sweep(store.files).remove())
    assert not store.has(request.id)
    assert list(check_store(store.files)) == []


def test_files_that_are_swept_while_a_draft_lists_them_are_missed(store):
    old = write_scores(store, "old")
    grow_old(store, WEEK + 60)
    request = Request(kind="scores", settings={"name": "new"}, inputs={"dataset": DATASET.id})
    with pytest.raises(NotFoundError, match=f"artifacts/{old}/.* was removed"), store.write(request) as draft:
        draft.share(store.record(old).files)
        list(Sweep(store.files).remove())
    assert not store.has(request.id)


def test_files_that_another_artifact_shares_stay(store):
    lender, borrower = Request(kind="scores", settings={"name": "lender"}), Request(kind="scored", settings={})
    write = Scores(index=ExampleIndex(["toys:0"]), values=np.array([1.0]), high_means="hard")
    store.write_scores(lender, write, {})
    with store.write(borrower) as draft:
        draft.share(store.record(lender.id).table("scores"))
    store.publish("scored", "toys", borrower.id)
    grow_old(store, WEEK + 60)
    assert [one.path for one in Sweep(store.files).remove()] == [f"artifacts/{lender.id}"]
    assert not store.has(lender.id)
    assert store.files.exists(store.record(borrower.id).files[0].path)
    assert list(check_store(store.files)) == []
    assert found(store) == []


def test_what_seems_to_come_from_the_future_is_fresh(store):
    write_scores(store, "ahead")
    grow_old(store, -3600)
    assert found(store, 0) == []
    grow_old(store, 2 * 3600)
    assert len(found(store, 0)) == 1


def test_the_newest_run_keeps_all_it_made_and_an_overtaken_one_does_not(store):
    report = write_scores(store, "report")
    subset = store.version("subset", "toys-clean").artifact
    note = {"report": report, "artifacts": [report, subset], "published": [["subset", "toys-clean", subset]]}
    store.remember("runs", "abc", note)
    grow_old(store, WEEK + 60)
    assert found(store) == []
    toy_selection(store, [1, 1, 1, 1])
    assert found(store) == [("artifact", f"artifacts/{report}"), ("run note", "runs/abc.json")]


def test_a_killed_writer_leaves_what_can_go_and_a_live_one_is_left_alone(store):
    request = Request(kind="scores", settings={"name": "never"})
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from storage.artifacts import Draft, Request\n"
        "from storage.files import Files\n"
        "draft = Draft(Files(Path(sys.argv[1])), Request(kind='scores', settings={'name': 'never'}))\n"
        "draft.path('x.parquet').write_bytes(b'half')\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    grow_old(store, 2 * WEEK)
    assert found(store, 0) == []
    assert list(check_store(store.files)) == []
    child.kill()
    child.wait()
    (leftover,) = Sweep(store.files).find()
    assert (leftover.what, len(leftover.files), leftover.size_bytes) == ("leftover", 1, 4)
    assert [one.severity for one in check_store(store.files)] == ["leftover"]
    list(Sweep(store.files).remove())
    assert not (store.root / "artifacts" / request.id).exists()
    assert list(check_store(store.files)) == []


def test_a_leftover_beside_a_complete_artifact_goes_and_the_artifact_stays(store):
    place = store.files.private(f"artifacts/{DATASET.id}")
    store.files.release(place)
    (store.root / place / "x.parquet").write_bytes(b"half")
    grow_old(store, 2 * WEEK)
    assert [one.path for one in Sweep(store.files).remove()] == [place]
    assert len(store.dataset("toys")) == 5
    assert list(check_store(store.files)) == []


def test_checkpoints_and_half_written_files_go_when_they_are_old(store):
    store.checkpoints.save("training-1", {"a": np.zeros(1)}, {})
    (store.root / "_tmp" / "abc").write_bytes(b"half")
    grow_old(store, WEEK - 60)
    assert found(store) == []
    grow_old(store, 120)
    assert found(store) == [("temporary file", "_tmp/abc"), ("checkpoint", "checkpoints/training-1.safetensors")]
    list(Sweep(store.files).remove())
    assert store.checkpoints.load("training-1") is None


def test_nothing_goes_while_a_record_cannot_be_read(store):
    artifact = write_scores(store, "old")
    grow_old(store, WEEK + 60)
    (store.root / "artifacts" / artifact / "record.json").write_text("{")
    with pytest.raises(CorruptError, match="cannot be read"):
        list(Sweep(store.files).remove())
    assert (store.root / "artifacts" / artifact).exists()


def test_the_grace_period_is_a_number_of_seconds(store):
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="grace_seconds must be at least 0, got"):
            Sweep(store.files, grace_seconds=wrong)


def test_publishing_waits_while_waste_is_sought(store):
    import threading

    artifact = write_scores(store, "late")
    done = threading.Event()

    def publish() -> None:
        store.publish("scored", "late", artifact)
        done.set()

    with store.files.locked("versions", exclusive=True):
        thread = threading.Thread(target=publish)
        thread.start()
        time.sleep(0.1)
        assert not done.is_set()
    thread.join(10)
    assert done.is_set()
