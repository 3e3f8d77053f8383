"""ADASYN: more new rows from those rows of a small class that more rows of other classes surround.

He, Bai, Garcia, Li, "ADASYN: Adaptive Synthetic Sampling Approach for Imbalanced Learning", IJCNN
2008. https://doi.org/10.1109/IJCNN.2008.4633969

Differs from the paper: several classes are each held against all others. Rows are those of imbalanced-learn under
the same draws. Because each row's share is rounded, a class may end a few rows above or below its size.
"""

from dataclasses import dataclass

import numpy as np

from curation.balance import Balance, check_balance, synthetic_counts
from curation.interpolation import Segments, synthesized
from curation.nearest_rows import nearest_rows
from curation.neighborhood_labels import num_others
from curation.rebalancer import (
    Rebalanced,
    Rebalancer,
    TrainingRows,
    check_at_least,
    check_members,
    check_numeric,
    legacy_draws,
)


@dataclass(frozen=True, kw_only=True)
class ADASYN(Rebalancer):
    """Grow each class from its rows in proportion to the share of other classes among their neighbours."""

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 5
    """Nearest rows, both of all and of the class, at least 1; 5 in the paper."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows.

        Raises:
            ValueError: a class has too few rows or none near others, or the balance cannot be had.
        """
        check_numeric(rows, "adasyn")
        draws = legacy_draws(rng)
        counts = synthetic_counts(rows, self.balance)
        return synthesized(rows, [self._segments(rows, label, num_rows, draws) for label, num_rows in counts.items()])

    def _segments(self, rows: TrainingRows, label: int, num_rows: int, draws: np.random.RandomState) -> Segments:
        check_members(rows, label, self.num_neighbors, "adasyn")
        members = rows.members(label)
        share = num_others(rows, members, self.num_neighbors) / self.num_neighbors
        if not share.any():
            raise ValueError(
                f"no example of class {rows.classes[label]!r} has another class among its {self.num_neighbors} "
                "nearest, so adasyn has nothing to adapt to; use smote"
            )
        times = np.rint(share / share.sum() * num_rows).astype(np.int64)
        if not times.any():
            raise ValueError(
                f"adasyn spreads {num_rows} rows of class {rows.classes[label]!r} so thin that each base gets none; "
                "use smote"
            )
        bases = np.repeat(np.arange(len(members)), times)
        column = draws.choice(self.num_neighbors, size=len(bases))
        gap = draws.uniform(size=(len(bases), 1))[:, 0]
        drawn, place = np.unique(bases, return_inverse=True)
        found = nearest_rows(rows.features[members], drawn, self.num_neighbors)
        return Segments(label, members[bases], members[found[place, column]], gap)
