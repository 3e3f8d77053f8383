"""SMOTE-NC: SMOTE for rows of numbers and categories; the neighbours vote on a new row's categories.

Chawla, Bowyer, Hall, Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 16,
2002, section 6.1. https://doi.org/10.1613/jair.953

Categories stay whole numbers: two rows that differ in one are as far apart in it as the median of the standard
deviations of the class's numeric features. Rows are those of imbalanced-learn under the same draws.

Differs from the paper: votes that end even are drawn. Differs from imbalanced-learn: votes are counted exactly, however
small that median is.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.balance import Balance, check_balance, synthetic_counts
from curation.interpolation import Segments, drawn_pairs, synthesized
from curation.nearest_rows import nearest_rows
from curation.rebalancer import (
    Positions,
    Rebalanced,
    Rebalancer,
    TrainingRows,
    check_at_least,
    check_members,
    legacy_draws,
)

Codes = NDArray[np.integer]


def winners(votes: Codes) -> tuple[Positions, Codes]:
    """The most frequent codes of each row, several where they are even.

    Args:
        votes: (M, V) codes.

    Returns:
        (L,) rows and codes, ordered by row and then by code; each row comes at least once.
    """
    ordered = np.sort(votes, axis=1)
    counts = (ordered[:, :, None] == ordered[:, None, :]).sum(axis=2)
    best = counts == counts.max(axis=1, keepdims=True)
    best[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    row, place = np.nonzero(best)
    return row, ordered[row, place]


def elected(votes: Codes, draws: np.random.RandomState) -> Codes:
    """(M,) the most frequent code of each row; even votes are drawn, all in one shuffle."""
    row, code = winners(votes)
    shuffled = draws.permutation(len(row))
    _, first = np.unique(row[shuffled], return_index=True)
    return code[shuffled[first]]


class _Mixed(NamedTuple):
    """Synthetic rows of one class, and who gave them their categories."""

    segments: Segments
    categories: Codes
    voters: Positions


@dataclass(frozen=True, kw_only=True)
class SMOTENC(Rebalancer):
    """Grow each class by points between its rows, with the categories most frequent around the base."""

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 5
    """Nearest rows of the class that a base may lean to, and that vote, at least 1; 5 in the paper."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows.

        Raises:
            ValueError: numbers or categories are missing, a class has too few rows, or the balance cannot be had.
        """
        if rows.categories is None or not rows.features.shape[1]:
            missing = "categories" if rows.categories is None else "numeric features"
            raise ValueError(f"smote_nc mixes numbers and categories, and there are no {missing}; use smote or smote_n")
        draws = legacy_draws(rng)
        counts = synthetic_counts(rows, self.balance)
        mixed = [self._mixed(rows, rows.categories, label, num_rows, draws) for label, num_rows in counts.items()]
        plain = synthesized(rows, [part.segments for part in mixed])
        empty = np.empty((0, self.num_neighbors), dtype=np.int64)
        return Rebalanced(
            index=plain.index,
            kept=plain.kept,
            features=plain.features,
            labels=plain.labels,
            parent_a=plain.parent_a,
            parent_b=plain.parent_b,
            gap=plain.gap,
            categories=np.concatenate([rows.categories[:0], *(part.categories for part in mixed)]),
            voters=np.concatenate([empty, *(part.voters for part in mixed)]),
        )

    def _mixed(
        self, rows: TrainingRows, categories: Codes, label: int, num_rows: int, draws: np.random.RandomState
    ) -> _Mixed:
        check_members(rows, label, self.num_neighbors, "smote_nc")
        members = rows.members(label)
        pairs = drawn_pairs(len(members), self.num_neighbors, num_rows, draws)
        drawn, place = np.unique(pairs.base, return_inverse=True)
        numbers = rows.features[members]
        median = float(np.median(numbers.astype(np.float64).std(axis=0)))
        found = nearest_rows(numbers, drawn, self.num_neighbors, categories[members], median**2)
        voters = members[found[place]]
        chosen = [elected(categories[voters, column], draws) for column in range(categories.shape[1])]
        second = np.take_along_axis(voters, pairs.column[:, None], axis=1)[:, 0]
        segments = Segments(label, members[pairs.base], second, pairs.gap)
        return _Mixed(segments, np.stack(chosen, axis=1).astype(categories.dtype), voters)
