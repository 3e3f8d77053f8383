"""Calibration: whether a network's probabilities can be trusted, and temperature scaling.

Expected calibration error and temperature scaling: Guo, Pleiss, Sun, Weinberger, "On Calibration of
Modern Neural Networks", ICML 2017. https://arxiv.org/abs/1706.04599
Area under the risk-coverage curve and its excess: Geifman, Uziel, El-Yaniv, "Bias-Reduced
Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019. https://arxiv.org/abs/1805.08206
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

Floats = NDArray[np.floating]


def negative_log_likelihood(logits: Floats, labels: NDArray[np.integer]) -> float:
    """Mean cross entropy in nats, at least 0; low is good.

    Args:
        logits: (N, K), N at least 1; log-probabilities serve as well.
        labels: (N,) classes in [0, K).
    """
    log_probs = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    return float(-log_probs[np.arange(len(labels)), labels].mean())


def brier_score(probs: Floats, labels: NDArray[np.integer]) -> float:
    """Mean squared distance between probabilities and the one-hot label, in [0, 2]; low is good.

    Args:
        probs: (N, K) rows that sum to 1, N at least 1.
        labels: (N,) classes in [0, K).
    """
    onehot = np.eye(probs.shape[1])[labels]
    return float(((np.asarray(probs, dtype=np.float64) - onehot) ** 2).sum(axis=1).mean())


def confidence(probs: Floats, labels: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The largest probability of each example, and whether it is its label's.

    Args:
        probs: (N, K) rows that sum to 1.
        labels: (N,) classes in [0, K).

    Returns:
        (N,) confidences in [1 / K, 1], and (N,) whether the prediction is right.
    """
    return np.asarray(probs.max(axis=1), dtype=np.float64), probs.argmax(axis=1) == labels


def expected_calibration_error(confidences: Floats, correct: NDArray[np.bool_], *, num_bins: int = 15) -> float:
    """Mean gap between accuracy and confidence over bins of confidence, in [0, 1]; low is good.

    Bins are of equal width and of the form (low, high]; a confidence of 0 is in the first. The
    estimate is biased upwards, by about sqrt(num_bins / N) for a calibrated network.

    Args:
        confidences: (N,) in [0, 1], N at least 1.
        correct: (N,) whether the prediction is right.
        num_bins: at least 1; 15 and 10 are both in use, so say which.

    Raises:
        ValueError: no bin, or a confidence outside [0, 1].
    """
    values = np.asarray(confidences, dtype=np.float64)
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("confidences must be in [0, 1]; are these logits?")
    edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    bins = np.searchsorted(edges, values, side="left")
    gaps = np.bincount(bins, weights=correct.astype(np.float64) - values, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(values))


def risk_curve(confidences: Floats, correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Error rate among the k most confident examples, for k = 1 .. N.

    Equal confidences share their errors evenly: the mean over all their orders.

    Args:
        confidences: (N,) any ranking of certainty, high meaning sure.
        correct: (N,) whether the prediction is right.

    Returns:
        (N,) error rates in [0, 1].
    """
    order = np.argsort(-confidences, kind="stable")
    errors = (~correct[order]).astype(np.float64)
    _, block, sizes = np.unique(-confidences[order], return_inverse=True, return_counts=True)
    shared = (np.bincount(block, weights=errors) / sizes)[block]
    risks: NDArray[np.float64] = np.cumsum(shared) / np.arange(1, len(errors) + 1)
    return risks


def area_under_risk_coverage(confidences: Floats, correct: NDArray[np.bool_]) -> float:
    """Mean of the `risk_curve` (AURC), in [0, 1]; low means errors are the unsure ones.

    Args:
        confidences: (N,) high meaning sure, N at least 1.
        correct: (N,) whether the prediction is right.
    """
    return float(risk_curve(confidences, correct).mean())


def excess_area_under_risk_coverage(confidences: Floats, correct: NDArray[np.bool_]) -> float:
    """AURC above that of the best ranking with as many errors (E-AURC), at least 0; low is good.

    Args:
        confidences: (N,) high meaning sure, N at least 1.
        correct: (N,) whether the prediction is right.
    """
    return area_under_risk_coverage(confidences, correct) - area_under_risk_coverage(correct.astype(float), correct)


def fitted_temperature(logits: Floats, labels: NDArray[np.integer]) -> float:
    """The temperature T above 0 at which softmax(logits / T) has the least negative log likelihood.

    Fit it on examples that neither trained the network nor test it. It changes no prediction.

    Args:
        logits: (N, K), N at least 1.
        labels: (N,) classes in [0, K).

    Raises:
        ValueError: the best temperature is not between 0.001 and 1000, as where every prediction
            is right or the logits say nothing of the labels.
    """
    values = np.asarray(logits, dtype=np.float64)
    values = values - values.max(axis=1, keepdims=True)
    given = values[np.arange(len(labels)), labels]

    def slope(log_inverse: float) -> float:
        expected = (softmax(math.exp(log_inverse) * values, axis=1) * values).sum(axis=1)
        return float((expected - given).mean())

    low, high = -math.log(1000.0), math.log(1000.0)
    if not slope(low) < 0 < slope(high):
        raise ValueError(
            f"no temperature between 0.001 and 1000 fits these {len(labels)} examples best; "
            "use more held-out examples, with some right and some wrong predictions"
        )
    return math.exp(-float(brentq(slope, low, high, xtol=1e-10)))
