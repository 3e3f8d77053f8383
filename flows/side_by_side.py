"""Steps side by side: in several processes, each step as soon as its inputs are there.

The artifacts are those of a run in one process, since what a step makes follows from its request alone.
"""

import multiprocessing
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from flows.step import Show, Step, is_done, run_step, show_nothing
from storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Work:
    """A step, and the recipe that it is published with."""

    step: Step
    """What is to be made."""
    recipe: Mapping[str, Any] | None
    """The recipe's plain values."""


def run_side_by_side(store: Store, works: Sequence[Work], processes: int, show: Show) -> Iterator[Step]:
    """Make artifacts in several processes; those that are there are skipped.

    Args:
        store: where artifacts are; every process opens it anew.
        works: what to make; of several that could start, the first does. A step comes after its inputs.
        processes: how many work at a time, at least 1; each computes with its share of the cores.
        show: told when a step has ended.

    Yields:
        Each step that was made, when it has ended.

    Raises:
        ChildProcessError: a process was killed, as where memory ran out.
        Exception: whatever a step raised, after the steps that were at work have ended; no further ones start.
    """
    waiting = list({work.step.id: work for work in works if not is_done(store, work.step)}.values())
    if not waiting:
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    running: dict[Future[str], Work] = {}
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=begin, initargs=(threads,)
    ) as pool:
        while waiting or running:
            for work in startable(waiting, running.values(), processes - len(running)):
                waiting.remove(work)
                running[pool.submit(_make, store.location, work)] = work
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                work = running.pop(future)
                _raise_failure(future, work)
                show(work.step, None)
                yield work.step


def startable(waiting: Sequence[Work], running: Collection[Work], free: int) -> list[Work]:
    """The first works whose inputs are neither at work nor waiting themselves."""
    pending = {work.step.id for work in (*waiting, *running)}
    ready = [work for work in waiting if pending.isdisjoint(work.step.request.inputs.values())]
    return ready[: max(free, 0)]


def begin(threads: int) -> None:
    """Give this process its share of the cores, which libraries read when they load, and end it with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))


def _end_with_parent() -> None:
    """Wait until the process that started this one is gone, however it ended; what is half done is carried on later."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(location: str, work: Work) -> str:
    return run_step(Store.open(location), work.step, work.recipe, show_nothing)


def _raise_failure(future: "Future[str]", work: Work) -> None:
    try:
        future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"a process ended without a word while others worked ({work.step.title} among them), as where memory runs "
            "out; the same command carries on, with fewer --processes if it happens again"
        ) from error
