"""Order: which rows make each batch of each epoch, for each rank, as a pure function of a few numbers.

Nothing is stored: an epoch's order is a permutation drawn from (seed, epoch), so the place in a run is told by
two counts, and neither a crash nor another number of worker processes can change what comes next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learners.randomness import generator
from storage.values import Schedule


def scheduled_rows(schedule: Schedule | None, num_rows: int, epoch: int) -> NDArray[np.int64]:
    """Rows that an epoch visits, in no particular order.

    Args:
        schedule: which share, by which rule; None visits all rows.
        num_rows: M, how many rows there are.
        epoch: counted from 0.

    Returns:
        (m,) distinct rows in [0, M), where m is `num_scheduled` and the same in every epoch.
    """
    visited = num_scheduled(schedule, num_rows)
    if schedule is None or visited == num_rows:
        return np.arange(num_rows)
    if schedule.rule == "redrawn":
        shuffled = generator(schedule.seed, "redrawn", epoch).permutation(num_rows)
        return shuffled[:visited]
    deal, hand = divmod(epoch, num_rows // visited)
    shuffled = generator(schedule.seed, "dealt", deal).permutation(num_rows)
    return shuffled[hand * visited : (hand + 1) * visited]


def num_scheduled(schedule: Schedule | None, num_rows: int) -> int:
    """How many rows each epoch visits: the fraction of them, rounded half to even, at least one."""
    return num_rows if schedule is None else max(1, round(schedule.fraction * num_rows))


@dataclass(frozen=True, kw_only=True)
class Order:
    """The batches of one rank.

    An epoch's rows are shuffled and cut into steps of `batch_size` rows for each rank; a rest that has fewer than
    two rows for each rank (one, where batches are of one) joins the step before it, any other is a smaller last
    step. A step is dealt out to the ranks one row each in turn. So every rank takes the same number of steps, every
    row comes once in an epoch, sizes differ between ranks by at most one row, and the rows of a step are the same
    for any number of ranks that share its size. With one rank the batches are those that `learners.fit` trains on.
    """

    num_rows: int
    """M, how many rows there are."""
    batch_size: int
    """Rows of a batch of one rank, at least 1."""
    seed: int
    """Seed of the order, at least 0."""
    rank: int = 0
    """Which process of several this one is, in [0, world_size)."""
    world_size: int = 1
    """How many processes share each epoch, at least 1."""
    schedule: Schedule | None = None
    """Which rows each epoch visits; None is all of them."""

    def __post_init__(self) -> None:
        for name, low in (("batch_size", 1), ("seed", 0), ("world_size", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must be in [0, {self.world_size}), got {self.rank}")
        if self.num_visited < self.world_size:
            raise ValueError(f"{self.num_visited} rows in an epoch are too few for {self.world_size} ranks")

    @property
    def num_visited(self) -> int:
        """Rows that all ranks together visit in an epoch."""
        return num_scheduled(self.schedule, self.num_rows) if self.num_rows else 0

    @property
    def step_size(self) -> int:
        """Rows of a full step, over all ranks."""
        return self.batch_size * self.world_size

    @property
    def num_steps(self) -> int:
        """Batches of an epoch, for each rank the same."""
        least = self.world_size * min(2, self.batch_size)
        return max(1, (self.num_visited - least) // self.step_size + 1)

    def batches(self, epoch: int, first: int = 0, every: int = 1) -> Iterator[NDArray[np.int64]]:
        """Rows of this rank's batches of an epoch.

        Args:
            epoch: counted from 0.
            first: step to begin with, counted from 0.
            every: distance between the steps wanted: workers take turns.

        Yields:
            (B,) rows in [0, M).
        """
        rows = scheduled_rows(self.schedule, self.num_rows, epoch)
        order = generator(self.seed, "order", epoch).permutation(rows)
        for step in range(first, self.num_steps, every):
            start = step * self.step_size
            stop = start + self.step_size if step + 1 < self.num_steps else len(order)
            yield order[start:stop][self.rank :: self.world_size]
