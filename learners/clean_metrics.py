"""Clean metrics: what one model's logits on a labelled split say of it, each number under a name of its own."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from learners.calibration import (
    area_under_risk_coverage,
    brier_score,
    confidence,
    excess_area_under_risk_coverage,
    expected_calibration_error,
    negative_log_likelihood,
)
from learners.evaluate import accuracy
from learners.worst_case import GroupAccuracy, group_accuracy


def clean_metrics(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None = None,
    temperature: float | None = None,
) -> dict[str, float]:
    """Accuracies, losses and calibration by name.

    Args:
        logits: (N, K), N at least 1.
        labels: (N,) classes in [0, K).
        groups: (N,) subpopulation of each example, or None.
        temperature: above 0, fitted elsewhere; None gives no scaled metrics.

    Returns:
        `test_accuracy`, `balanced_accuracy` (the mean over classes), `worst_class_accuracy` and of how many examples,
        alike of groups; `nll` in nats, `brier`, `ece_10`, `ece_15`, `aurc`, `excess_aurc`; `scaled_nll` and
        `scaled_ece_15` at the temperature. High accuracies are good, of all else low ones.
    """
    correct = logits.argmax(axis=1) == labels
    classes = group_accuracy(correct, labels)
    wide = logits.astype(np.float64)
    found = {
        "test_accuracy": accuracy(logits, labels),
        "balanced_accuracy": classes.balanced,
        **_worst("class", classes),
        **(_worst("group", group_accuracy(correct, groups)) if groups is not None else {}),
        **_calibration(wide, labels),
    }
    if temperature is not None:
        scaled = _calibration(wide / temperature, labels)
        found |= {f"scaled_{name}": scaled[name] for name in ("nll", "ece_15")}
    return found


def _worst(kind: str, by: GroupAccuracy) -> Mapping[str, float]:
    place = int(by.accuracies.argmin())
    return {f"worst_{kind}_accuracy": by.worst, f"worst_{kind}_examples": float(by.counts[place])}


def _calibration(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Mapping[str, float]:
    probs = softmax(logits, axis=1)
    confidences, correct = confidence(probs, labels)
    return {
        "nll": negative_log_likelihood(logits, labels),
        "brier": brier_score(probs, labels),
        "ece_10": expected_calibration_error(confidences, correct, num_bins=10),
        "ece_15": expected_calibration_error(confidences, correct, num_bins=15),
        "aurc": area_under_risk_coverage(confidences, correct),
        "excess_aurc": excess_area_under_risk_coverage(confidences, correct),
    }
