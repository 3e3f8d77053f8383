"""Margins: how far a value of the given class stands above the best value of another class, and which class is best."""

import numpy as np
from numpy.typing import NDArray


def rival_classes(values: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The class, other than the label, with the largest value.

    Args:
        values: (N, K) logits or probabilities; K at least 2.
        labels: (N,) given classes in [0, K).

    Returns:
        (N,) classes, none equal to its label; the first where several tie.
    """
    others = np.where(np.arange(values.shape[1]) == labels[:, None], -np.inf, values)
    rivals: NDArray[np.int64] = others.argmax(axis=1).astype(np.int64)
    return rivals


def margins(values: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """The label's value minus the largest value of another class.

    Args:
        values: (N, K) logits or probabilities; K at least 2.
        labels: (N,) given classes in [0, K), possibly wrong.

    Returns:
        (N,) margins in the unit of the values; negative where another class wins.
    """
    rows = np.arange(len(labels))
    wide = values.astype(np.float64)
    gaps: NDArray[np.float64] = wide[rows, labels] - wide[rows, rival_classes(wide, labels)]
    return gaps


def suggestion(probs: NDArray[np.floating], labels: NDArray[np.integer]) -> dict[str, NDArray[np.generic]]:
    """Columns that say which label a model would have given.

    Args:
        probs: (N, K) class probabilities.
        labels: (N,) given classes in [0, K), possibly wrong.

    Returns:
        `suggested_label` (N,), the likeliest class, of equally likely ones the label if it is one of them, else the
        first; and `confidence` (N,), its probability in [0, 1].
    """
    most, own = probs.max(axis=1), probs[np.arange(len(labels)), labels]
    return {"suggested_label": np.where(own == most, labels, probs.argmax(axis=1)).astype(np.int64), "confidence": most}
