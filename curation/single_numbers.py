"""Recorded signals that hold one number per example."""

import numpy as np
from numpy.typing import NDArray

from curation.scorer import check_finite
from storage.values import Signals


def single_numbers(signals: Signals, name: str, epoch: int | None) -> NDArray[np.float64]:
    """The numbers of a signal at one epoch.

    Args:
        signals: of N examples and R seeds.
        name: of a signal of shape (R, N, T, 1).
        epoch: which of the recorded epochs; None means the last.

    Returns:
        (R, N) finite.

    Raises:
        ValueError: the signal was not recorded then, is not finite, or holds several numbers per example.
    """
    values = signals.at_epoch(name, epoch)
    if values.ndim != 3 or values.shape[-1] != 1:
        raise ValueError(f"signal {name!r} must hold one number per example, got shape {values.shape[2:]}")
    check_finite(signals.index, name, values)
    numbers: NDArray[np.float64] = values[..., 0].astype(np.float64)
    return numbers
