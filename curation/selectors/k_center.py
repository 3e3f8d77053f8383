"""k-center: a subset that leaves no example far from a kept one, by greedy farthest-first choice.

Sener, Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR
2018, algorithm 1. https://arxiv.org/abs/1708.00489 The largest distance it leaves is at most
twice the smallest possible: Gonzalez, "Clustering to minimize the maximum intercluster
distance", Theoretical Computer Science 38, 1985, https://doi.org/10.1016/0304-3975(85)90224-5
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.neighbors import embedding_of
from curation.ranks import budget, by_id
from curation.selector import Selector, check_fraction, keep_positions
from storage.values import Scores, Selection, Signals


def farthest_first(embeddings: NDArray[np.floating], num_centers: int) -> NDArray[np.int64]:
    """Centers in the order of choice: the example nearest the mean, then always the one farthest from all centers.

    Args:
        embeddings: (N, D) finite vectors; N at least 1.
        num_centers: M, in [1, N].

    Returns:
        (M,) distinct rows; the first of several equally good ones. Time M * N * D, memory N * D.
    """
    points = embeddings.astype(np.float64)
    centers = np.empty(num_centers, dtype=np.int64)
    centers[0] = _squared_distances(points, points.mean(axis=0)).argmin()
    nearest = np.full(len(points), np.inf)
    for step in range(1, num_centers):
        last = centers[step - 1]
        np.minimum(nearest, _squared_distances(points, points[last]), out=nearest)
        # Below every distance, so that twins of a center are taken before a center comes again.
        nearest[last] = -1.0
        centers[step] = nearest.argmax()
    return centers


def _squared_distances(points: NDArray[np.float64], center: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps = points - center
    distances: NDArray[np.float64] = np.einsum("nd,nd->n", gaps, gaps)
    return distances


@dataclass(frozen=True, kw_only=True)
class KCenter(Selector):
    """Keep examples that cover the space of signal `embedding` (N, D), by Euclidean distance.

    Outliers are far from everything and are kept first: drop them before. Ties follow the ids.

    Differs from the paper: there is no set of examples chosen before, so the first center is the
    example nearest the mean; and the paper's further step, a mixed integer program, is left out.
    """

    fraction: float
    """Share of the examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget."""
        embeddings = embedding_of(signals)
        order = by_id(signals.index.ids)
        num_centers = budget(self.fraction, len(order))
        kept = order[farthest_first(embeddings[order], num_centers)] if num_centers else order[:0]
        reasons = np.full(len(order), "covered by a kept example", dtype=object)
        reasons[kept] = "center of a region of the embeddings"
        return keep_positions(signals.index, kept, reasons)
