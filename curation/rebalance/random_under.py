"""Random under-sampling: rows of large classes left out, drawn without replacement, as a baseline.

The draws are those of imbalanced-learn's RandomUnderSampler. Published as the baseline of every method here.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.balance import Balance, check_balance, kept_counts
from curation.rebalancer import Rebalanced, Rebalancer, TrainingRows, legacy_draws


@dataclass(frozen=True, kw_only=True)
class RandomUnder(Rebalancer):
    """Keep drawn rows of each large class, and nothing synthetic."""

    only_copies: ClassVar[bool] = True

    balance: Balance = "auto"
    """What the classes shall shrink to: `auto`; a share in (0, 1] that the smaller of two then is of the larger; or
    counts by class name."""

    def __post_init__(self) -> None:
        check_balance(self.balance)

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Leave rows out."""
        draws = legacy_draws(rng)
        kept = np.ones(len(rows), dtype=np.bool_)
        for label, count in kept_counts(rows, self.balance).items():
            members = rows.members(label)
            kept[members] = False
            kept[members[draws.choice(len(members), size=count, replace=False)]] = True
        nobody = np.empty(0, dtype=np.int64)
        return Rebalanced(
            index=rows.index,
            kept=kept,
            features=rows.features[:0],
            labels=nobody,
            parent_a=nobody,
            parent_b=nobody,
            gap=np.empty(0),
            categories=None if rows.categories is None else rows.categories[:0],
        )
