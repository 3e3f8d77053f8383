"""SMOTE-N: SMOTE for rows of categories alone; a row and its neighbours vote on each category.

Chawla, Bowyer, Hall, Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 16,
2002, section 6.2. https://doi.org/10.1613/jair.953
Value difference metric: Stanfill, Waltz, "Toward memory-based reasoning", CACM 29(12), 1986.
https://doi.org/10.1145/7902.7906

Differs from the paper: in the metric a row's weight is left out, and of even votes the smallest code wins, as
imbalanced-learn has both; rows are the same under the same draws. Distances are formed for the drawn bases, block by
block, never for all pairs at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.balance import Balance, check_balance, synthetic_counts
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
ROWS_AT_ONCE = 256


def class_shares(column: Codes, labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """(L, K) for each code of a column, how the rows that have it fall into the classes; zeros for an unused code."""
    size = int(column.max()) + 1
    counts = np.bincount(column * num_classes + labels, minlength=size * num_classes)
    counts = counts.reshape(size, num_classes).astype(np.float64)
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


@dataclass(frozen=True, kw_only=True)
class SMOTEN(Rebalancer):
    """Grow each class by rows that have, in each category, what prevails around a drawn row of the class.

    A synthetic row's one parent in `parent_a` is that base; `voters` are all its parents.
    """

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 5
    """Nearest rows of the class that vote beside the base, at least 1; 5 in the paper."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows.

        Raises:
            ValueError: there are numbers or no categories, a class has too few rows, or the balance cannot be had.
        """
        if rows.categories is None or rows.features.shape[1]:
            found = "no categories" if rows.categories is None else f"{rows.features.shape[1]} numeric features"
            raise ValueError(f"smote_n takes categories alone, and there are {found}; use smote_nc or smote")
        draws = legacy_draws(rng)
        present = np.unique(rows.labels, return_inverse=True)[1]
        shares = [class_shares(column, present, present.max() + 1) for column in rows.categories.T.astype(np.int64)]
        voters = [np.empty((0, self.num_neighbors + 1), dtype=np.int64)]
        bases = [np.empty(0, dtype=np.int64)]
        for label, num_rows in synthetic_counts(rows, self.balance).items():
            check_members(rows, label, self.num_neighbors, "smote_n")
            members = rows.members(label)
            base = draws.choice(np.arange(len(members)), size=num_rows, replace=True)
            bases.append(members[base])
            drawn, place = np.unique(base, return_inverse=True)
            voters.append(members[_nearest(rows.categories[members], shares, drawn, self.num_neighbors + 1)][place])
        return _voted(rows, rows.categories, np.concatenate(bases), np.concatenate(voters))


def _nearest(codes: Codes, shares: list[NDArray[np.float64]], asked: Positions, num_voters: int) -> Positions:
    """(Q, num_voters) rows nearest to each row asked for, itself usually among them, nearest first."""
    found = np.empty((len(asked), num_voters), dtype=np.int64)
    for start in range(0, len(asked), ROWS_AT_ONCE):
        block = asked[start : start + ROWS_AT_ONCE]
        distances = np.zeros((len(block), len(codes)))
        for column, share in enumerate(shares):
            levels, place = np.unique(codes[block, column], return_inverse=True)
            apart = np.abs(share[None, :, :] - share[levels][:, None, :]).sum(axis=-1) ** 2
            distances += apart[:, codes[:, column]][place]
        near = np.argpartition(distances, num_voters - 1, axis=1)[:, :num_voters]
        order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1)
        found[start : start + ROWS_AT_ONCE] = np.take_along_axis(near, order, axis=1)
    return found


def _voted(rows: TrainingRows, categories: Codes, bases: Positions, voters: Positions) -> Rebalanced:
    votes = np.sort(categories[voters], axis=1)
    counts = (votes[:, :, None, :] == votes[:, None, :, :]).sum(axis=2)
    winner = counts.argmax(axis=1)[:, None, :]
    return Rebalanced(
        index=rows.index,
        kept=np.ones(len(rows), dtype=np.bool_),
        features=np.empty((len(bases), 0), dtype=rows.features.dtype),
        labels=rows.labels[bases],
        parent_a=bases,
        parent_b=bases,
        gap=np.zeros(len(bases)),
        categories=np.take_along_axis(votes, winner, axis=1)[:, 0],
        voters=voters,
    )
