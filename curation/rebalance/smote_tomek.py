"""SMOTE and Tomek links: grow the small classes, then take out pairs that touch across classes.

Batista, Prati, Monard, "A study of the behavior of several methods for balancing machine learning
training data", SIGKDD Explorations 6(1), 2004. https://doi.org/10.1145/1007730.1007735

The cleaning is imbalanced-learn's own (`pip install 'tamis[rebalance]'`), and so is the choice of pairs in SMOTE, whose
rows are the same under the same draws. After it, classes need not be of equal size.
"""

from dataclasses import dataclass

import numpy as np

from curation.balance import Balance, check_balance
from curation.cleaning import without_links
from curation.interpolation import grown_by_smote
from curation.packages import check_imbalanced_learn
from curation.rebalancer import Rebalanced, Rebalancer, TrainingRows, check_at_least


@dataclass(frozen=True, kw_only=True)
class SMOTETomek(Rebalancer):
    """Grow each class by SMOTE, then take out both rows of every Tomek link, given or synthetic."""

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 5
    """Nearest rows of the class that a base may lean to, at least 1; imbalanced-learn's default."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)

    def check_packages(self, num_examples: int) -> None:
        """Ask for imbalanced-learn."""
        check_imbalanced_learn("smote_tomek")

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows, then take out rows.

        Raises:
            ValueError: a class has too few rows, there are categories, or the balance cannot be had.
            MissingPackageError: imbalanced-learn is not installed.
        """
        made = grown_by_smote(rows, self.balance, self.num_neighbors, rng, "smote_tomek")
        return without_links(rows, made)
