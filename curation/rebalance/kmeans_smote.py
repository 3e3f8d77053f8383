"""k-means SMOTE: new rows inside clusters in which a small class is strong, more where it lies sparse.

Douzas, Bacao, Last, "Improving imbalanced learning through a heuristic oversampling method based
on k-means and SMOTE", Information Sciences 465, 2018. https://arxiv.org/abs/1711.00837

Differs from the paper: the power of the mean distance is 0.16 * log_1.6(n)^1.8 for a cluster's n rows of the class
unless it is set, and the clusters are those of scikit-learn's MiniBatchKMeans, as imbalanced-learn has both; its rows
are the same under the same draws. Each cluster's share is rounded up, so that a class may end above its size.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curation.balance import Balance, check_balance, synthetic_counts
from curation.interpolation import between_neighbors, synthesized
from curation.rebalancer import (
    Positions,
    Rebalanced,
    Rebalancer,
    TrainingRows,
    check_at_least,
    check_numeric,
    legacy_draws,
)


@dataclass(frozen=True, kw_only=True)
class KMeansSMOTE(Rebalancer):
    """Grow each class by SMOTE inside the clusters where its share is large enough."""

    balance: Balance = "auto"
    """What the classes shall grow to: `auto`, a share in (0, 1] of the larger of two, or counts by class name."""
    num_neighbors: int = 2
    """Nearest rows of class and cluster that a base may lean to, at least 1; imbalanced-learn's default."""
    num_clusters: int = 8
    """Clusters of all rows, at least 1; imbalanced-learn's default. One cluster is used whatever the share."""
    cluster_share: Literal["auto"] | float = "auto"
    """Least share of the class in a cluster that is used, in [0, 1]; `auto` is half of the class's part of all rows
    to be made."""
    density_exponent: Literal["auto"] | float = "auto"
    """Power of the mean distance in a cluster's sparsity, at least 0; `auto` grows with the cluster."""

    def __post_init__(self) -> None:
        check_balance(self.balance)
        check_at_least("num_neighbors", self.num_neighbors, 1)
        check_at_least("num_clusters", self.num_clusters, 1)
        if self.cluster_share != "auto" and not 0 <= self.cluster_share <= 1:
            raise ValueError(f"cluster_share must be 'auto' or in [0, 1], got {self.cluster_share}")
        if self.density_exponent != "auto" and not 0 <= self.density_exponent < math.inf:
            raise ValueError(f"density_exponent must be 'auto' or at least 0, got {self.density_exponent}")

    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Add rows.

        Raises:
            ValueError: no cluster holds enough of a class, there are categories, or the balance cannot be had.
        """
        check_numeric(rows, "kmeans_smote")
        draws, segments = legacy_draws(rng), []
        counts = synthetic_counts(rows, self.balance)
        for label, num_rows in counts.items():
            share = num_rows / sum(counts.values()) / 2 if self.cluster_share == "auto" else float(self.cluster_share)
            clusters = self._clusters(rows, label, share, draws)
            sparsity = np.array([self._sparsity(rows.features[cluster]) for cluster in clusters])
            if not sparsity.sum() > 0:
                raise ValueError(
                    f"all rows of class {rows.classes[label]!r} in its clusters are equal; use smote or random_over"
                )
            for cluster, weight in zip(clusters, sparsity / sparsity.sum(), strict=True):
                part = math.ceil(num_rows * weight)
                segments.append(between_neighbors(rows, label, cluster, cluster, self.num_neighbors, part, draws))
        return synthesized(rows, segments)

    def _clusters(self, rows: TrainingRows, label: int, share: float, draws: np.random.RandomState) -> list[Positions]:
        """For each cluster that is used, the positions of its rows of the class."""
        from sklearn.cluster import MiniBatchKMeans

        found = MiniBatchKMeans(n_clusters=self.num_clusters, random_state=draws).fit_predict(rows.features[rows.order])
        clusters = []
        for cluster in range(self.num_clusters):
            members = rows.order[found == cluster]
            own = members[rows.labels[members] == label]
            strong = self.num_clusters == 1 or len(own) >= share * len(members)
            if strong and len(own) > self.num_neighbors:
                clusters.append(own)
        if not clusters:
            raise ValueError(
                f"no cluster holds at least {self.num_neighbors + 1} examples of class {rows.classes[label]!r} at a "
                f"share of {share:g}; lower cluster_share or change num_clusters"
            )
        return clusters

    def _sparsity(self, features: NDArray[np.floating]) -> float:
        """Mean distance between rows, to a power, over their number."""
        from sklearn.metrics import pairwise_distances_chunked

        size = len(features)
        sums = pairwise_distances_chunked(features, reduce_func=lambda block, _: block.sum(axis=1))
        mean = float(np.concatenate(list(sums)).sum()) / (size**2 - size)
        power = math.log(size, 1.6) ** 1.8 * 0.16 if self.density_exponent == "auto" else float(self.density_exponent)
        return float(mean**power / size)
