"""Linear classifier: logistic regression on embeddings, fitted once and then applied to each row from itself alone.

Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd edition, 2009, section 4.4,
https://hastie.su.domains/ElemStatLearn, fitted by scikit-learn.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit

from storage.values import Array

MAX_ITERATIONS = 1000
"""Steps of the solver after which fitting is given up."""
ROWS_AT_ONCE = 4096
"""Rows that are scored together."""


def check_penalty(penalty: float) -> None:
    """Refuse a penalty that is not finite and above 0."""
    if not 0 < penalty < np.inf:
        raise ValueError(f"penalty must be finite and above 0, got {penalty}")


def fit(
    embedding: NDArray[np.floating] | csr_array, belongs: NDArray[np.bool_], penalty: float
) -> dict[str, NDArray[np.float64]]:
    """A linear model that tells some rows from the others.

    Args:
        embedding: (N, D) finite rows, dense or sparse.
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
    shares = np.empty(len(embedding))
    for first in range(0, len(embedding), ROWS_AT_ONCE):
        rows = embedding[first : first + ROWS_AT_ONCE].astype(np.float64)
        margins = (rows * fitted["coefficients"]).sum(axis=1) + fitted["intercept"][0]
        shares[first : first + ROWS_AT_ONCE] = expit(margins)
    return shares


def check_dimensions(embedding: NDArray[np.floating], fitted: Mapping[str, Array]) -> None:
    """Refuse embeddings of another length than those that a model was fitted on."""
    if embedding.shape[1] != len(fitted["coefficients"]):
        raise ValueError(
            f"signal 'embedding' has {embedding.shape[1]} dimensions, "
            f"but the model was fitted on {len(fitted['coefficients'])}"
        )
