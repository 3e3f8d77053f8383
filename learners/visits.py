"""Visits: under a schedule, signals are recorded only once every example has come into training."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from learners.batches import batch_positions
from learners.order import num_scheduled
from learners.signals import AFTER_THE_EPOCH
from learners.training import Training
from storage.values import Schedule


def check_visits(
    chosen: Mapping[str, Sequence[int]],
    kept: NDArray[np.int64],
    training: Training,
    *,
    seed: int,
    schedule: Schedule | None,
) -> None:
    """Walk through the run's batches up to the last epoch that matters.

    `train_logits` need a visit of every example in the very epoch, what a learner remembers of an example one visit
    by then, and what networks give of themselves none.

    Args:
        chosen: rising epochs, counted from 1, at which each signal is recorded.
        kept: (M,) positions of the examples of weight above 0.
        training: gives the batches.
        seed: of their order.
        schedule: which of the examples each pass visits; None is all of them.

    Raises:
        ValueError: a signal would be recorded of examples that were not visited.
    """
    caught = tuple(chosen.get("train_logits", ()))
    unvisited = (*AFTER_THE_EPOCH, "train_logits")
    firsts = {name: epochs[0] for name, epochs in chosen.items() if name not in unvisited}
    ever = np.zeros(kept[-1] + 1, np.bool_)
    num_steps = training.steps_in_epoch(num_scheduled(schedule, len(kept)))
    for epoch in range(1, max((*caught, *firsts.values()), default=0) + 1):
        now = np.zeros_like(ever)
        for positions in batch_positions(
            kept, training, seed=seed, first_step=(epoch - 1) * num_steps, num_steps=num_steps, schedule=schedule
        ):
            now[positions.numpy()] = True
        ever |= now
        if epoch in caught:
            _refuse_missing("train_logits", epoch, now[kept], "in it; record 'logits' instead")
        for name in (name for name, first in firsts.items() if first == epoch):
            _refuse_missing(name, epoch, ever[kept], "by then; record it at a later epoch, or raise the fraction")


def _refuse_missing(name: str, epoch: int, visited: NDArray[np.bool_], rest: str) -> None:
    if not visited.all():
        raise ValueError(
            f"signal {name!r} at epoch {epoch}: the schedule leaves {int((~visited).sum())} of {len(visited)} "
            f"examples of weight above 0 unvisited {rest}"
        )
