"""Classifier: how much an example is like those of one class, by a linear model fitted once and then kept.

Logistic regression as in Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd
edition, 2009, section 4.4, https://hastie.su.domains/ElemStatLearn
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.linear_classifier import check_dimensions, check_penalty, fit, probability
from curation.neighbors import embedding_of
from curation.ranks import by_id
from curation.scorer import Merge, MergingScorer
from storage.values import Array, HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class TextClassifier(MergingScorer):
    """Probability that an example is of the target class, by a linear model on signal `embedding` (N, D).

    The model is fitted on those rows of the start that bear a label (one of at least 0), the target's against all
    others, and is then frozen: rows that come later are scored by it, whatever their labels, and earlier scores never
    change. A score under another name fits anew. Rows that were fitted score somewhat too surely.
    """

    reads: ClassVar[tuple[str, ...]] = ("embedding", "label")
    high_means: ClassVar[HighMeans] = "similar"
    frozen_at_start: ClassVar[bool] = True

    target: int
    """Class to be recognised, by its position among the classes."""
    penalty: float = 0.1
    """Weight of half the squared length of the coefficients, finite and above 0; higher is smoother."""
    max_fitted: int = 100_000
    """Labelled rows to fit on at most, at least 2; of more, so many are drawn."""
    seed: int = 0
    """Chooses the rows that are drawn, at least 0."""

    def __post_init__(self) -> None:
        if self.target < 0:
            raise ValueError(f"target must be at least 0, got {self.target}")
        check_penalty(self.penalty)
        if self.max_fitted < 2:
            raise ValueError(f"max_fitted must be at least 2, got {self.max_fitted}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")

    def start(self, signals: Signals) -> Merge:
        """Fit the model, and score all rows by it."""
        embedding, labels = embedding_of(signals), signals["label"]
        order = by_id(signals.index.ids)
        rows = order[labels[order] >= 0]
        if len(rows) > self.max_fitted:
            rows = rows[np.sort(np.random.default_rng(self.seed).permutation(len(rows))[: self.max_fitted])]
        fitted = fit(embedding[rows], labels[rows] == self.target, self.penalty)
        return Merge(state=fitted, new=self._scores(signals, embedding, fitted))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Score the new rows by the model of the start."""
        embedding = embedding_of(signals)
        check_dimensions(embedding, state)
        return Merge(state=state, new=self._scores(signals, embedding, state))

    def _scores(self, signals: Signals, embedding: NDArray[np.floating], fitted: Mapping[str, Array]) -> Scores:
        return Scores(index=signals.index, values=probability(embedding, fitted), high_means=self.high_means)
