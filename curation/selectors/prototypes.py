"""Prototypes: the examples far from the typical ones of the embeddings, or those near them.

Sorscher, Geirhos, Shekhar, Ganguli, Morcos, "Beyond neural scaling laws: beating power law scaling
via data pruning", NeurIPS 2022, https://arxiv.org/abs/2206.14486: examples are clustered by k-means, and the
distance to the nearest centroid says how hard one is. Hard ones are worth keeping where examples are many, easy ones
where they are few.

Medoids, which are examples themselves, are found by Schubert, Rousseeuw, "Fast and eager k-medoids clustering",
Information Systems 101, 2021, https://doi.org/10.1016/j.is.2021.101804, as in the package kmedoids (GPL-3): an extra.

Differs from the paper: distances are Euclidean, over embeddings as they are; the paper does not name a metric for
k-means and takes its embeddings from a self-supervised network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.distances import squared_distances
from curation.neighbors import embedding_of
from curation.packages import check_kmedoids
from curation.ranks import ascending, budget, by_id, descending
from curation.selector import Selector, check_fraction, keep_positions
from storage.values import Scores, Selection, Signals

Keep = Literal["far", "near"]
Kind = Literal["centroids", "medoids"]
Floats = NDArray[np.float64]

MOST_FOR_MEDOIDS = 30_000
"""Examples whose mutual distances, in float32, still take less than 4 GB."""


def centroids(points: NDArray[np.floating], num_prototypes: int, seed: int) -> Floats:
    """(P, D) centers of k-means: the best of 3 starts by k-means++.

    Args:
        points: (N, D) finite coordinates.
        num_prototypes: P, in [1, N].
        seed: of the starts, in [0, 2**32).
    """
    from sklearn.cluster import KMeans

    # More clusters than distinct points cannot be filled: those left over would only repeat some.
    distinct = len(np.unique(points, axis=0))
    found = KMeans(n_clusters=min(num_prototypes, distinct), n_init=3, random_state=seed).fit(points.astype(np.float64))
    centers: Floats = found.cluster_centers_
    return centers


def medoids(points: NDArray[np.floating], num_prototypes: int, seed: int) -> NDArray[np.int64]:
    """(P,) rows whose distances to the nearest of them have a small sum: a local optimum of FasterPAM.

    Args:
        points: (N, D) finite coordinates, N at most `MOST_FOR_MEDOIDS`: memory 4 N N bytes.
        num_prototypes: P, in [1, N].
        seed: of the start and of the order of swaps.

    Raises:
        MissingPackageError: kmedoids is not installed.
        ValueError: too many points.
    """
    if len(points) > MOST_FOR_MEDOIDS:
        raise ValueError(
            f"medoids need all distances between examples, so at most {MOST_FOR_MEDOIDS} of them, got {len(points)}; "
            "use kind = 'centroids'"
        )
    check_kmedoids()
    import kmedoids

    distances = np.empty((len(points), len(points)), dtype=np.float32)
    for row, point in enumerate(points):
        distances[row] = np.sqrt(squared_distances(points, point[None]))
    # One thread, since several find another optimum.
    found = kmedoids.fasterpam(distances, num_prototypes, random_state=seed, n_cpu=1)
    return np.sort(np.asarray(found.medoids, dtype=np.int64))


def nearest_distances(points: NDArray[np.floating], prototypes: NDArray[np.floating]) -> Floats:
    """(N,) squared Euclidean distance of each point to the nearest of (P, D) prototypes, in time N * P * D."""
    nearest = np.full(len(points), np.inf)
    for prototype in prototypes:
        np.minimum(nearest, squared_distances(points, prototype[None]), out=nearest)
    return nearest


@dataclass(frozen=True, kw_only=True)
class Prototypes(Selector):
    """Keep the examples farthest from (or nearest to) their prototype, by signal `embedding` (N, D); ties by id."""

    fraction: float
    """Share of the examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    num_prototypes: int
    """How many clusters, in [1, N]; such as the number of classes."""
    keep: Keep = "far"
    """`far` keeps what is hard and rare, wrong labels and outliers too; `near` what is typical."""
    kind: Kind = "centroids"
    """`centroids` of k-means, or `medoids`, for at most 30,000 examples."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        if self.num_prototypes < 1:
            raise ValueError(f"num_prototypes must be at least 1, got {self.num_prototypes}")
        for name, value, known in (("keep", self.keep, Keep), ("kind", self.kind, Kind)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")

    def check_packages(self, num_examples: int) -> None:
        """Ask for kmedoids where it is needed."""
        if self.kind == "medoids":
            check_kmedoids()

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget.

        Raises:
            ValueError: more prototypes than examples, or too many examples for medoids.
        """
        order = by_id(signals.index.ids)
        points = embedding_of(signals)[order]
        if self.num_prototypes > len(points):
            raise ValueError(f"num_prototypes must be in [1, {len(points)}] here, got {self.num_prototypes}")
        distances = np.empty(len(points))
        distances[order] = nearest_distances(points, self._prototypes(points, int(rng.integers(2**31))))
        ranked = (descending if self.keep == "far" else ascending)(distances, signals.index.ids)
        kept = ranked[: budget(self.fraction, len(ranked))]
        end = "farthest from" if self.keep == "far" else "nearest to"
        text = f"among the {100 * self.fraction:g} % {end} their prototype, one of {self.num_prototypes} {self.kind}"
        reasons = np.full(len(ranked), f"not {text}", dtype=object)
        reasons[kept] = text
        return keep_positions(signals.index, kept, reasons)

    def _prototypes(self, points: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
        if self.kind == "centroids":
            return centroids(points, self.num_prototypes, seed)
        return points[medoids(points, self.num_prototypes, seed)]
