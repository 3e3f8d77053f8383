"""SMOTE: new rows between a row of a small class and one of its nearest neighbours in that class.

Chawla, Bowyer, Hall, Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 16,
2002. https://doi.org/10.1613/jair.953

Differs from the paper: pairs of a base and a neighbour are drawn with replacement, so that bases are used unequally
often, and one gap serves all features of a row, as in the paper's text but not in its pseudo-code. Both are
imbalanced-learn's choice, whose rows are the same under the same draws; except that a row is never its own
neighbour, and that of equally distant neighbours the one with the smaller id counts (in more than 15 columns).
"""

from dataclasses import dataclass

import numpy as np

from curation.balance import Balance, check_balance
from curation.interpolation import grown_by_smote
from curation.rebalancer import Rebalanced, Rebalancer, TrainingRows, check_at_least


@dataclass(frozen=True, kw_only=True)
class SMOTE(Rebalancer):
    """Grow each class by points on segments between its own rows. Scale the features first: distances decide."""

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 5
    """Nearest rows of the class that a base may lean to, at least 1; 5 in the paper."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows.

        Raises:
            ValueError: a class has too few rows, there are categories, or the balance cannot be had.
        """
        return grown_by_smote(rows, self.balance, self.num_neighbors, rng, "smote")
