"""SVM-SMOTE: new rows from the support vectors of a small class, outwards where its own rows prevail.

Nguyen, Cooper, Kamei, "Borderline over-sampling for imbalanced data classification",
International Journal of Knowledge Engineering and Soft Data Paradigms 3(1), 2011.
https://doi.org/10.1504/IJKESDP.2011.039875

Differs from the paper: one draw from Beta(10, 10) shares the rows out between support vectors in danger and safe
ones, as imbalanced-learn has it, whose rows are the same under the same draws; the classifier is scikit-learn's SVC.
Where one kind is missing only the other's share is made, so that a class may stay below its size.
"""

from dataclasses import dataclass

import numpy as np

from curation.balance import Balance, check_balance, synthetic_counts
from curation.interpolation import Segments, between_neighbors, synthesized
from curation.neighborhood_labels import in_danger, is_noise, num_others
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


@dataclass(frozen=True, kw_only=True)
class SVMSMOTE(Rebalancer):
    """Grow each class between its support vectors in danger and neighbours, and beyond its safe ones."""

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 5
    """Nearest rows of the class that a base may lean to, at least 1; imbalanced-learn's default."""
    num_danger_neighbors: int = 10
    """Nearest of all rows that say who is in danger and who is noise, at least 1; imbalanced-learn's default."""
    out_step: float = 0.5
    """Greatest step beyond a safe support vector, away from its neighbour, in (0, 1]; imbalanced-learn's default."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)
        check_at_least("num_danger_neighbors", self.num_danger_neighbors, 1)
        if not 0 < self.out_step <= 1:
            raise ValueError(f"out_step must be in (0, 1], got {self.out_step}")

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows.

        Raises:
            ValueError: a class has too few rows or only noise as support vectors, or the balance cannot be had.
        """
        check_numeric(rows, "svm_smote")
        draws, segments = legacy_draws(rng), []
        for label, num_rows in synthetic_counts(rows, self.balance).items():
            check_members(rows, label, self.num_neighbors, "svm_smote")
            segments.extend(self._segments(rows, label, num_rows, draws))
        return synthesized(rows, segments)

    def _segments(self, rows: TrainingRows, label: int, num_rows: int, draws: np.random.RandomState) -> list[Segments]:
        vectors = _support_vectors(rows, label, draws)
        others = num_others(rows, vectors, self.num_danger_neighbors)
        heard = ~is_noise(others, self.num_danger_neighbors)
        if not heard.any():
            raise ValueError(
                f"all support vectors of class {rows.classes[label]!r} are noise ({self.num_danger_neighbors} nearest "
                "of other classes); use smote"
            )
        danger = in_danger(others, self.num_danger_neighbors)
        num_inside = int(draws.beta(10, 10) * (num_rows + 1))
        shares = [(heard & danger, num_inside, 1.0), (heard & ~danger, num_rows - num_inside, -self.out_step)]
        members = rows.members(label)
        return [
            between_neighbors(rows, label, vectors[which], members, self.num_neighbors, share, draws, step)
            for which, share, step in shares
            if which.any()
        ]


def _support_vectors(rows: TrainingRows, label: int, draws: np.random.RandomState) -> Positions:
    from sklearn.svm import SVC

    classifier = SVC(gamma="scale", random_state=draws).fit(rows.features[rows.order], rows.labels[rows.order])
    found: Positions = rows.order[classifier.support_]
    own: Positions = found[rows.labels[found] == label]
    return own
