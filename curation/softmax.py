"""Softmax and its logarithm, safe for logits of any size."""

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithms of the class probabilities.

    Args:
        logits: (..., K) finite pre-softmax outputs.

    Returns:
        (..., K) natural logarithms, at most 0; their exponentials sum to 1 over the last axis.
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Class probabilities.

    Args:
        logits: (..., K) finite pre-softmax outputs.

    Returns:
        (..., K) probabilities in [0, 1] that sum to 1 over the last axis.
    """
    probs: NDArray[np.float64] = np.exp(log_softmax(logits))
    return probs
