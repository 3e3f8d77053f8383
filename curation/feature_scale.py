"""Feature scale: the features of an example as one row of numbers, shifted and scaled by fixed settings.

Mean and scale are settings and not measured: measured ones would move old rows whenever new ones come.
"""

import numpy as np
from numpy.typing import NDArray

from storage.values import Array


def check_scale(mean: tuple[float, ...], scale: tuple[float, ...]) -> None:
    """Refuse no number, numbers that are not finite, and scales that are not above 0."""
    for name, values in (("mean", mean), ("scale", scale)):
        if not values or not np.isfinite(values).all():
            raise ValueError(f"{name} must hold finite numbers, at least one, got {values}")
    if min(scale) <= 0:
        raise ValueError(f"scale must be above 0, got {min(scale)}")


def scaled(features: Array, mean: tuple[float, ...], scale: tuple[float, ...]) -> NDArray[np.float32]:
    """(N, D) (feature - mean) / scale in single precision, computed in double.

    Args:
        features: (N, D) finite numbers.
        mean: one number for all features, or D.
        scale: one number above 0 for all features, or D.

    Raises:
        ValueError: there is another number of means or scales, or what comes out is not finite.
    """
    for name, values in (("mean", mean), ("scale", scale)):
        if len(values) not in (1, features.shape[1]):
            raise ValueError(f"{name} must hold 1 number or {features.shape[1]}, one a feature, got {len(values)}")
    moved = (features.astype(np.float64) - np.array(mean)) / np.array(scale)
    with np.errstate(over="ignore"):
        embedding: NDArray[np.float32] = moved.astype(np.float32)
    if not np.isfinite(embedding).all():
        raise ValueError("features leave the range of single precision after shifting and scaling; raise 'scale'")
    return embedding
