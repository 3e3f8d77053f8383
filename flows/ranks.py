"""Ranks of a run: under torchrun, rank 0 does everything that one process would, and calls the others to each training.

    torchrun --nproc-per-node 2 -m flows.cli train --subset digits-clean@1 --learner elr

Rank 0 alone plans, writes to the store and talks to people. The other ranks wait until they are told of a training, by
the request from which its id follows; they read the same examples and checkpoint, train along, and wait again.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from importlib import import_module

from flows.step import Step
from learners.distributed import Ranks, joined_ranks
from storage.artifacts import Request
from storage.store import Store

_called: ContextVar[Ranks | None] = ContextVar("called", default=None)


class SpokenError(Exception):
    """This process ends with an error of which another one tells people."""


def in_ranks(root: str, command: Callable[[], None]) -> None:
    """Run a command on rank 0, and every training that it comes to on all ranks that torchrun started.

    Args:
        root: directory or URL of the store that the command works on.
        command: what rank 0 does.

    Raises:
        LostRankError: another rank has ended.
        SpokenError: this rank ends by an error, its own or another's, that another rank tells of.
    """
    with joined_ranks() as ranks:
        try:
            if ranks.rank == 0:
                with _leading(ranks):
                    command()
                ranks.told("null")
            else:
                _follow(root, ranks)
        except (Exception, KeyboardInterrupt) as error:
            if ranks.speaks_first():
                raise
            raise SpokenError from error


def called_ranks(step: Step, epoch: int) -> Ranks | None:
    """All processes that train together, called to this training; None where this process is alone.

    Args:
        step: a training.
        epoch: completed epochs of the checkpoint that it goes on from; 0 where there is none.
    """
    ranks = _called.get()
    if ranks is not None:
        ranks.told(json.dumps({"module": step.module, "request": asdict(step.request), "epoch": epoch}))
    return ranks


@contextmanager
def _leading(ranks: Ranks) -> Iterator[None]:
    token = _called.set(ranks)
    try:
        yield
    finally:
        _called.reset(token)


def _follow(root: str, ranks: Ranks) -> None:
    """Train along with rank 0 until it has nothing more to train."""
    while (call := json.loads(ranks.told())) is not None:
        follow: Callable[[Store, Request, Ranks, int], None] = import_module(f"flows.{call['module']}").follow
        follow(Store.open(root), Request(**call["request"]), ranks, call["epoch"])
