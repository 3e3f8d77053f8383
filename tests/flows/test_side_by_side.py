import os
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from flows import side_by_side
from flows.config import load_recipe
from flows.curate_and_train import curate_and_train
from flows.side_by_side import Work, startable
from flows.step import Step, show_nothing
from storage.artifacts import Request
from storage.store import Store
from tests.flows.commands import tamis
from tests.flows.recipes import TABLE


def hashes_but_of_durations(store: Store, ids: list[str]) -> list[list[str]]:
    return [[one.sha256 for one in store.record(artifact).files if one.table != "epochs"] for artifact in ids]


def test_two_processes_make_the_artifacts_that_one_makes(tmp_path):
    recipe = load_recipe("digits", TABLE)
    alone, together = Store.create(tmp_path / "alone"), Store.create(tmp_path / "together")
    first = curate_and_train(alone, recipe, show_nothing)
    told: list[str] = []
    second = curate_and_train(together, recipe, lambda step, _: told.append(step.title), processes=2)
    assert second == first
    ids = sorted(alone.artifacts.ids())
    assert sorted(together.artifacts.ids()) == ids
    assert hashes_but_of_durations(together, ids) == hashes_but_of_durations(alone, ids)
    assert len(told) == first.computed
    assert str(together.version("subset", "kept")) == "kept@1"


def test_a_step_that_fails_is_told_as_in_one_process_and_what_ended_stays(tmp_path):
    store = Store.create(tmp_path / "store")
    recipe = load_recipe("digits", (*TABLE, "training.learning_rate=1e30"))
    with pytest.raises(FloatingPointError, match="is not finite"):
        curate_and_train(store, recipe, show_nothing, processes=2)
    assert store.names("dataset") == ["digits"]


def test_a_process_that_was_killed_is_told_in_one_sentence(tmp_path, capsys, monkeypatch):
    class Killed:
        def __init__(self, *_, **__) -> None: ...

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None: ...

        def submit(self, *_) -> "Future[str]":
            future: Future[str] = Future()
            future.set_exception(BrokenProcessPool())
            return future

    monkeypatch.setattr(side_by_side, "ProcessPoolExecutor", Killed)
    changes = [part for change in TABLE for part in ("--set", change)]
    place = str(tmp_path / "store")
    code, _, err = tamis("run", "digits", *changes, "--processes", "2", "--store", place, capsys=capsys)
    assert code == 1
    assert err.splitlines()[-1].startswith("tamis: a process ended without a word while others worked")


def test_a_step_waits_for_its_inputs_and_the_first_that_can_start_does():
    def work(name: str, *inputs: str) -> Work:
        request = Request(kind="report", settings={"name": name}, inputs={one: one for one in inputs})
        return Work(step=Step(title=name, module="none", request=request), recipe=None)

    first, second = work("first"), work("second")
    third = work("third", first.step.id)
    assert startable([third, second], [first], 2) == [second]
    assert startable([first, third, second], [], 2) == [first, second]
    assert startable([first, third, second], [], 1) == [first]
    assert startable([third], [second], 1) == [third]
    assert startable([third], [second], 0) == []


def test_a_process_ends_when_the_one_that_started_it_is_killed(tmp_path):
    (tmp_path / "main.py").write_text(
        "import multiprocessing, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from flows.side_by_side import begin\n"
        "if __name__ == '__main__':\n"
        "    spawn = multiprocessing.get_context('spawn')\n"
        "    with ProcessPoolExecutor(1, spawn, initializer=begin, initargs=(1,)) as pool:\n"
        "        pool.submit(time.sleep, 0).result()\n"
        "        (worker,) = multiprocessing.active_children()\n"
        "        print(worker.pid, flush=True)\n"
        "        pool.submit(time.sleep, 600).result()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as main:
        assert main.stdout is not None
        worker = int(main.stdout.readline())
        os.kill(worker, 0)
        main.kill()
    ends_by = time.monotonic() + 60
    while is_running(worker) and time.monotonic() < ends_by:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
