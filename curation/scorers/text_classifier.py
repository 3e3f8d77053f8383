"""Classifier: how much an example is like those of one class, by a linear model fitted once and then kept.

Logistic regression as in Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd
edition, 2009, section 4.4, https://hastie.su.domains/ElemStatLearn, fitted by scikit-learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from curation.neighbors import embedding_of
from curation.ranks import by_id
from curation.scorer import Merge, MergingScorer
from storage.values import Array, HighMeans, Scores, Signals

MAX_ITERATIONS = 1000
"""Steps of the solver after which fitting is given up."""


def fit(embedding: NDArray[np.floating], belongs: NDArray[np.bool_], penalty: float) -> dict[str, NDArray[np.float64]]:
    """A linear model that tells some rows from the others.

    Args:
        embedding: (N, D) finite rows.
        belongs: (N,) which of them are to be recognised; both kinds must occur.
        penalty: weight of half the squared length of the coefficients beside the summed loss, above 0.

    Returns:
        `coefficients` (D,) and `intercept` (1,), the same bits for the same rows in the same order.

    Raises:
        ValueError: one kind does not occur, or the solver does not settle.
    """
    if belongs.all() or not belongs.any():
        raise ValueError(f"{int(belongs.sum())} of {len(belongs)} labelled examples are of the target; both are needed")
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / penalty, max_iter=MAX_ITERATIONS)
    model.fit(embedding.astype(np.float64), belongs)
    if model.n_iter_[0] >= MAX_ITERATIONS:
        raise ValueError(f"the classifier did not settle in {MAX_ITERATIONS} steps; raise penalty, now {penalty}")
    return {"coefficients": model.coef_[0].astype(np.float64), "intercept": model.intercept_.astype(np.float64)}


def probability(embedding: NDArray[np.floating], fitted: Mapping[str, Array]) -> NDArray[np.float64]:
    """(N,) probability in [0, 1] that each row belongs, by what `fit` returned; each row from itself alone."""
    margins = (embedding.astype(np.float64) * fitted["coefficients"]).sum(axis=1) + fitted["intercept"][0]
    shares: NDArray[np.float64] = expit(margins)
    return shares


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
        if not 0 < self.penalty < np.inf:
            raise ValueError(f"penalty must be finite and above 0, got {self.penalty}")
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
        if embedding.shape[1] != len(state["coefficients"]):
            raise ValueError(
                f"signal 'embedding' has {embedding.shape[1]} dimensions, "
                f"but the model was fitted on {len(state['coefficients'])}"
            )
        return Merge(state=state, new=self._scores(signals, embedding, state))

    def _scores(self, signals: Signals, embedding: NDArray[np.floating], fitted: Mapping[str, Array]) -> Scores:
        return Scores(index=signals.index, values=probability(embedding, fitted), high_means=self.high_means)
