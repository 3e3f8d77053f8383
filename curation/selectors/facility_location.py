"""Facility location: a subset in which every example has a kept one that resembles it.

The objective is that of Wei, Iyer, Bilmes, "Submodularity in Data Subset Selection and Active
Learning", ICML 2015, https://proceedings.mlr.press/v37/wei15.html, maximised greedily: at least
1 - 1/e of the best value, by Nemhauser, Wolsey, Fisher, "An analysis of approximations for
maximizing submodular set functions", Mathematical Programming 14, 1978,
https://doi.org/10.1007/BF01588971. Gains are renewed only where an old one leads: Minoux, "Accelerated
greedy algorithms for maximizing submodular set functions", Optimization Techniques, 1978,
https://doi.org/10.1007/BFb0006528

Differs from the paper: there the similarity is taken within a class only; here over all examples.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.neighbors import embedding_of
from curation.ranks import budget, by_id
from curation.selector import Selector, check_fraction, keep_positions
from storage.values import Scores, Selection, Signals

Similarity = Literal["cosine", "euclidean"]
Floats = NDArray[np.float64]

PAIRS_AT_ONCE = 1 << 22
"""Similarities that are held in memory together."""


class Likeness:
    """Similarities of at least 0 between points, computed as they are asked for."""

    def __init__(self, points: NDArray[np.floating], similarity: Similarity) -> None:
        """Hold N points, (N, D).

        Args:
            points: finite coordinates.
            similarity: `cosine` is (1 + cosine) / 2, a vector of zeros having cosine 0 with all; `euclidean` is a
                bound on all distances, twice the largest from the mean, minus the distance.
        """
        centered = points.astype(np.float64)
        if similarity == "euclidean":
            centered = centered - centered.mean(axis=0)
        lengths = np.sqrt(np.square(centered).sum(axis=1))
        self.similarity = similarity
        self.reach = 2.0 * float(lengths.max(initial=0.0))
        self.points = centered if similarity == "euclidean" else centered / np.where(lengths > 0, lengths, 1.0)[:, None]
        self.squares = np.square(self.points).sum(axis=1)

    def __len__(self) -> int:
        return len(self.points)

    def rows(self, places: NDArray[np.int64]) -> Floats:
        """(B, N) similarity of each of B points to all; rounded, so that twins have the same."""
        product = self.points[places] @ self.points.T
        if self.similarity == "cosine":
            shifted: Floats = (1.0 + product) / 2.0
            return np.round(shifted.clip(0.0, 1.0), 12)
        squares = self.squares[places][:, None] + self.squares - 2.0 * product
        # A point's distance to its twin is 0, whatever rounding has left of it.
        squares[squares < 1e-12 * self.reach**2] = 0.0
        close: Floats = np.maximum(self.reach - np.sqrt(squares), 0.0)
        return np.round(close / self.reach, 12) if self.reach else np.ones_like(close)


def most_representative(likeness: Likeness, num_chosen: int) -> NDArray[np.int64]:
    """Points chosen one by one, each adding most to the sum over all points of their best similarity to a chosen one.

    Args:
        likeness: N points.
        num_chosen: M, in [0, N].

    Returns:
        (M,) distinct rows in the order of choice; of equal gains the first row. The first gains take time
        N * N * D; later ones are renewed only where an old one, which is never too low, leads.
    """
    best = np.zeros(len(likeness))
    step = max(1, PAIRS_AT_ONCE // max(len(likeness), 1))
    firsts = [_gains(likeness, best, start, step) for start in range(0, len(likeness), step)]
    gains = np.concatenate(firsts) if firsts else best
    waiting = [(-float(gain), row, 0) for row, gain in enumerate(gains)]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while len(chosen) < num_chosen:
        _, row, renewed = heapq.heappop(waiting)
        similar = likeness.rows(np.array([row]))[0]
        if renewed == len(chosen):
            best = np.maximum(best, similar)
            chosen.append(row)
        else:
            gain = _rounded(np.maximum(similar - best, 0.0).sum())
            heapq.heappush(waiting, (-float(gain), row, len(chosen)))
    return np.array(chosen, dtype=np.int64)


def _gains(likeness: Likeness, best: Floats, start: int, step: int) -> Floats:
    places = np.arange(start, min(start + step, len(likeness)))
    return _rounded(np.maximum(likeness.rows(places) - best, 0.0).sum(axis=1))


def _rounded(gains: Floats) -> Floats:
    """Sums without the last digits, in which the order of summing shows."""
    return np.round(gains, 9)


@dataclass(frozen=True, kw_only=True)
class FacilityLocation(Selector):
    """Keep examples of which every other one has a like, by signal `embedding` (N, D).

    Dense regions get more of the budget than with k_center, and outliers get little. Ties follow the ids. Time grows
    with the square of N: tens of thousands of examples are minutes.
    """

    fraction: float
    """Share of the examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    similarity: Similarity = "cosine"
    """`cosine` looks at directions alone; `euclidean` at distances."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        if self.similarity not in get_args(Similarity):
            raise ValueError(f"similarity must be one of {', '.join(get_args(Similarity))}, got {self.similarity!r}")

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget."""
        order = by_id(signals.index.ids)
        likeness = Likeness(embedding_of(signals)[order], self.similarity)
        kept = order[most_representative(likeness, budget(self.fraction, len(order)))]
        reasons = np.full(len(order), "represented by a kept example that resembles it", dtype=object)
        reasons[kept] = f"represents examples of {self.similarity} similarity"
        return keep_positions(signals.index, kept, reasons)
