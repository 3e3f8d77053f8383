"""Borderline-SMOTE: new rows from those rows of a small class that stand among other classes.

Han, Wang, Mao, "Borderline-SMOTE: A New Over-Sampling Method in Imbalanced Data Sets Learning",
ICIC 2005. https://doi.org/10.1007/11538059_91

Differs from the paper: `borderline-2` leans to any of the nearest of all rows, drawn at once, as imbalanced-learn has
it, whose rows are the same under the same draws, up to one rounding where the neighbour is of another class.
Differs from imbalanced-learn: a class without a row in danger is refused, not left as it is in silence.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curation.balance import Balance, check_balance, synthetic_counts
from curation.interpolation import Segments, between_neighbors, synthesized
from curation.neighborhood_labels import in_danger, num_others
from curation.rebalancer import (
    Positions,
    Rebalanced,
    Rebalancer,
    TrainingRows,
    check_at_least,
    check_members,
    check_numeric,
    legacy_draws,
)

Kind = Literal["borderline-1", "borderline-2"]
"""`borderline-1` leans to rows of the class; `borderline-2` to any row, and at most half-way to another class."""


@dataclass(frozen=True, kw_only=True)
class BorderlineSMOTE(Rebalancer):
    """Grow each class from its rows in danger: at least half of their neighbours, but not all, are of other classes."""

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 5
    """Nearest rows that a base may lean to, at least 1; imbalanced-learn's default."""
    num_danger_neighbors: int = 10
    """Nearest of all rows that say who is in danger, at least 1; imbalanced-learn's default."""
    kind: Kind = "borderline-1"
    """`borderline-1` or `borderline-2`."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)
        check_at_least("num_danger_neighbors", self.num_danger_neighbors, 1)
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows.

        Raises:
            ValueError: a class has too few rows or none in danger, or the balance cannot be had.
        """
        check_numeric(rows, "borderline_smote")
        draws, segments = legacy_draws(rng), []
        for label, num_rows in synthetic_counts(rows, self.balance).items():
            if self.kind == "borderline-1":
                check_members(rows, label, self.num_neighbors, "borderline_smote")
            bases = self._bases(rows, label)
            among = rows.members(label) if self.kind == "borderline-1" else rows.order
            found = between_neighbors(rows, label, bases, among, self.num_neighbors, num_rows, draws)
            segments.append(found if self.kind == "borderline-1" else _shortened(rows, found, draws))
        return synthesized(rows, segments)

    def _bases(self, rows: TrainingRows, label: int) -> Positions:
        members = rows.members(label)
        others = num_others(rows, members, self.num_danger_neighbors)
        bases = members[in_danger(others, self.num_danger_neighbors)]
        if not len(bases):
            raise ValueError(
                f"no example of class {rows.classes[label]!r} is in danger (at least half, but not all, of its "
                f"{self.num_danger_neighbors} nearest of other classes); use smote"
            )
        return bases


def _shortened(rows: TrainingRows, found: Segments, draws: np.random.RandomState) -> Segments:
    """The segments, those that lead to another class cut to a drawn part of at most a half."""
    foreign = rows.labels[found.second] != found.label
    gap = found.gap.copy()
    gap[foreign] *= draws.uniform(low=0.0, high=0.5, size=(int(foreign.sum()), 1))[:, 0]
    return found._replace(gap=gap)
