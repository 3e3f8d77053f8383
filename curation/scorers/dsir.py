"""DSIR: how much likelier a text's n-grams are among the targets than in the pool.

Xie, Santurkar, Ma, Liang, "Data Selection for Language Models via Importance Resampling", NeurIPS 2023.
https://arxiv.org/abs/2302.03169 Both sides are bags of hashed n-grams, and the score is the logarithm of a text's
importance weight.

Differs from the paper: each bucket counts `pseudo_count` more on both sides, so that no ratio is infinite; and the
highest weights are to be kept, where the paper resamples by adding Gumbel noise to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.ngram_space import check_buckets, counts_of
from curation.scorer import Merge, MergingScorer
from curation.targets import check_drawing, equally_drawn, parts_of
from storage.values import Array, HighMeans, Scores, Signals

ROWS_AT_ONCE = 512
"""Rows whose counts are weighed or summed together."""


def log_ratios(wanted: NDArray[np.int64], pool: NDArray[np.int64], pseudo_count: float) -> NDArray[np.float64]:
    """(D,) log of each bucket's share among the targets over its share in the pool.

    Args:
        wanted: (D,) how often each bucket occurs among the targets.
        pool: (D,) how often in the pool.
        pseudo_count: added to every count, above 0.
    """
    shares = [(counts + pseudo_count) / (counts + pseudo_count).sum() for counts in (wanted, pool)]
    ratios: NDArray[np.float64] = np.log(shares[0]) - np.log(shares[1])
    return ratios


def log_weights(counts: Array, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) log importance weight of each row of counts (N, D); each from itself alone."""
    blocks = range(0, len(counts), ROWS_AT_ONCE)
    weights = [(counts[first : first + ROWS_AT_ONCE] * ratios).sum(axis=1) for first in blocks]
    return np.concatenate(weights) if weights else np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class DSIR(MergingScorer):
    """Log importance weight, in nats, of each row by its n-grams; long texts have the largest, either way.

    Reads signals `ngram_counts` (N, D) and `benchmark` (N,), -1 for documents. The shares are taken from the rows of
    the start; rows that come later are weighed by them.
    """

    reads: ClassVar[tuple[str, ...]] = ("ngram_counts", "benchmark")
    high_means: ClassVar[HighMeans] = "similar"
    frozen_at_start: ClassVar[bool] = True

    per_benchmark: int | None = None
    """Targets drawn from each benchmark, at least 1; None is as many as the smallest one has."""
    pseudo_count: float = 1.0
    """What each bucket counts more than it occurs, finite and above 0."""
    seed: int = 0
    """Chooses the targets that are drawn, at least 0."""

    def __post_init__(self) -> None:
        check_drawing(self.per_benchmark, self.seed)
        if not 0 < self.pseudo_count < np.inf:
            raise ValueError(f"pseudo_count must be finite and above 0, got {self.pseudo_count}")

    def start(self, signals: Signals) -> Merge:
        """Count both sides, and weigh all rows."""
        counts, parts = counts_of(signals), parts_of(signals)
        targets = parts.targets[equally_drawn(parts.benchmarks, self.per_benchmark, self.seed)]
        ratios = log_ratios(_summed(counts, targets), _summed(counts, parts.documents), self.pseudo_count)
        return Merge(state={"ratios": ratios}, new=self._scores(signals, counts, ratios))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Weigh the new rows by the shares of the start."""
        counts = counts_of(signals)
        check_buckets(counts, state["ratios"])
        return Merge(state=state, new=self._scores(signals, counts, state["ratios"]))

    def _scores(self, signals: Signals, counts: Array, ratios: NDArray[np.float64]) -> Scores:
        return Scores(index=signals.index, values=log_weights(counts, ratios), high_means=self.high_means)


def _summed(counts: Array, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    sums = np.zeros(counts.shape[1], dtype=np.int64)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        sums += counts[rows[first : first + ROWS_AT_ONCE]].sum(axis=0, dtype=np.int64)
    return sums
