"""Random over-sampling: rows of small classes once more, drawn with replacement, as a baseline.

The draws are those of imbalanced-learn's RandomOverSampler. Published as the baseline of every method here.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.balance import Balance, check_balance, synthetic_counts
from curation.rebalancer import Rebalanced, Rebalancer, TrainingRows, legacy_draws


@dataclass(frozen=True, kw_only=True)
class RandomOver(Rebalancer):
    """Copy drawn rows; a copy's one parent is the row itself, with a gap of 0."""

    only_copies: ClassVar[bool] = True

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""

    def __post_init__(self) -> None:
        check_balance(self.balance)

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add copies."""
        draws = legacy_draws(rng)
        drawn = [
            draws.choice(rows.members(label), size=num_rows, replace=True)
            for label, num_rows in synthetic_counts(rows, self.balance).items()
        ]
        copied = np.concatenate([np.empty(0, dtype=np.int64), *drawn])
        return Rebalanced(
            index=rows.index,
            kept=np.ones(len(rows), dtype=np.bool_),
            features=rows.features[copied],
            labels=rows.labels[copied],
            parent_a=copied,
            parent_b=copied,
            gap=np.zeros(len(copied)),
            categories=None if rows.categories is None else rows.categories[copied],
        )
