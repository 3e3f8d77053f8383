"""Interpolation: synthetic rows on the segment from a row to one of its neighbours, as the SMOTE family makes them.

Draws are made in the order of imbalanced-learn's: which base and neighbour, then the gap.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.balance import Balance, synthetic_counts
from curation.nearest_rows import nearest_rows
from curation.rebalancer import Positions, Rebalanced, TrainingRows, check_members, check_numeric, legacy_draws

ROWS_AT_ONCE = 1024
"""Synthetic rows made at once, few enough to stay in a processor's cache."""


class Segments(NamedTuple):
    """Where synthetic rows of one class lie: between which rows, and how far along."""

    label: int
    first: Positions
    """(M,) positions of the rows they start from."""
    second: Positions
    """(M,) positions of the rows they lean to."""
    gap: NDArray[np.float64]
    """(M,) steps from the first towards the second."""


class Pairs(NamedTuple):
    """Drawn bases, which of its neighbours each goes with, and the gap."""

    base: Positions
    """(M,) places among the bases."""
    column: Positions
    """(M,) places among the base's neighbours."""
    gap: NDArray[np.float64]
    """(M,) steps."""


def drawn_pairs(
    num_bases: int, num_neighbors: int, num_rows: int, draws: np.random.RandomState, step: float = 1.0
) -> Pairs:
    """Pairs drawn uniformly with replacement from a table of bases by neighbours, with gaps uniform in [0, step)."""
    drawn = draws.randint(low=0, high=num_bases * num_neighbors, size=num_rows)
    gap = step * draws.uniform(size=num_rows)
    base, column = np.divmod(drawn, num_neighbors)
    return Pairs(base, column, gap)


def between_neighbors(
    rows: TrainingRows,
    label: int,
    bases: Positions,
    among: Positions,
    num_neighbors: int,
    num_rows: int,
    draws: np.random.RandomState,
    step: float = 1.0,
) -> Segments:
    """Segments of one class from drawn bases to drawn neighbours; only the bases that are drawn are searched for.

    Args:
        rows: the training split.
        label: class of the synthetic rows.
        bases: positions of the rows to start from.
        among: positions of the rows that may be neighbours, the bases included.
        num_neighbors: neighbours of each base.
        num_rows: M, how many segments.
        draws: the source of chance.
        step: the greatest gap; below 0 it points away from the neighbour.
    """
    pairs = drawn_pairs(len(bases), num_neighbors, num_rows, draws, step)
    drawn, place = np.unique(pairs.base, return_inverse=True)
    where = np.empty(len(rows), dtype=np.int64)
    where[among] = np.arange(len(among))
    found = nearest_rows(rows.features[among], where[bases[drawn]], num_neighbors)
    return Segments(label, bases[pairs.base], among[found[place, pairs.column]], pairs.gap)


def grown_by_smote(
    rows: TrainingRows, balance: Balance, num_neighbors: int, rng: np.random.Generator, method: str
) -> Rebalanced:
    """Plain SMOTE: in each class that shall grow, synthetic rows between its own and their neighbours in the class.

    Raises:
        ValueError: a class has too few rows, there are categories, or the balance cannot be had.
    """
    check_numeric(rows, method)
    draws = legacy_draws(rng)
    segments = []
    for label, num_rows in synthetic_counts(rows, balance).items():
        check_members(rows, label, num_neighbors, method)
        members = rows.members(label)
        segments.append(between_neighbors(rows, label, members, members, num_neighbors, num_rows, draws))
    return synthesized(rows, segments)


def interpolated(
    first: NDArray[np.floating], second: NDArray[np.floating], gap: NDArray[np.float64]
) -> NDArray[np.floating]:
    """(M, D) points first + gap * (second - first), in the type of the first."""
    points = gap[:, None] * (second - first)
    points += first
    return points.astype(first.dtype, copy=False)


def synthesized(rows: TrainingRows, segments: Sequence[Segments]) -> Rebalanced:
    """All rows, and a synthetic one at each place on the segments."""
    nothing = Segments(0, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    parts = [nothing, *segments]
    first, second = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    gap = np.concatenate([part.gap for part in parts])
    features = np.empty((len(gap), rows.features.shape[1]), dtype=rows.features.dtype)
    for start in range(0, len(gap), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        features[some] = interpolated(rows.features[first[some]], rows.features[second[some]], gap[some])
    return Rebalanced(
        index=rows.index,
        kept=np.ones(len(rows), dtype=np.bool_),
        features=features,
        labels=np.repeat([part.label for part in parts], [len(part.gap) for part in parts]),
        parent_a=first,
        parent_b=second,
        gap=gap,
    )
