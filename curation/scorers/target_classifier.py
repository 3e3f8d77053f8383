"""Target classifier: how much an example is like the targets themselves rather than like the pool.

The quality filter of Brown et al., "Language Models are Few-Shot Learners", NeurIPS 2020, appendix A,
https://arxiv.org/abs/2005.14165, with benchmark examples as what is wanted: the "benchmark against crawl" classifier
that Mizrahi et al., 2025, https://arxiv.org/abs/2507.12466, compare theirs with.

Differs from the papers: logistic regression on weighted n-grams, balanced between the two kinds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.linear_classifier import check_penalty
from curation.ngram_space import check_buckets, classifier, counts_of, likelihood, rarity
from curation.scorer import Merge, MergingScorer
from curation.targets import at_most, check_drawing, equally_drawn, parts_of
from storage.values import Array, HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class TargetClassifier(MergingScorer):
    """Probability in [0, 1] that a row is a target and no document, by a linear model on their n-grams.

    Reads signals `ngram_counts` (N, B) and `benchmark` (N,), -1 for documents. The model is fitted on the rows of the
    start: the targets drawn, and at most as many documents. Rows that come later are scored by it.
    """

    reads: ClassVar[tuple[str, ...]] = ("ngram_counts", "benchmark")
    high_means: ClassVar[HighMeans] = "similar"
    frozen_at_start: ClassVar[bool] = True

    per_benchmark: int | None = None
    """Targets drawn from each benchmark, at least 1; None is as many as the smallest one has."""
    penalty: float = 0.1
    """Weight of half the squared length of the coefficients, finite and above 0; higher is smoother."""
    seed: int = 0
    """Chooses what is drawn, at least 0."""

    def __post_init__(self) -> None:
        check_drawing(self.per_benchmark, self.seed)
        check_penalty(self.penalty)

    def start(self, signals: Signals) -> Merge:
        """Fit the model, and score all rows by it."""
        counts, parts = counts_of(signals), parts_of(signals)
        targets = parts.targets[equally_drawn(parts.benchmarks, self.per_benchmark, self.seed)]
        documents = at_most(parts.documents, len(targets), self.seed)
        rows = np.concatenate([targets, documents])
        belongs = np.arange(len(rows)) < len(targets)
        fitted = classifier(counts, rows, belongs, rarity(counts, parts.documents), self.penalty)
        return Merge(state=fitted, new=self._scores(signals, fitted))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Score the new rows by the model of the start."""
        check_buckets(counts_of(signals), state["coefficients"])
        return Merge(state=state, new=self._scores(signals, state))

    def _scores(self, signals: Signals, fitted: Mapping[str, Array]) -> Scores:
        values = likelihood(signals["ngram_counts"], fitted)
        return Scores(index=signals.index, values=values, high_means=self.high_means)
