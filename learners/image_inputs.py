"""What networks for images share: the check of their inputs, and the statistics of their channels."""

import numpy as np
from numpy.typing import NDArray

from storage.values import Array, Examples


def image_channels(examples: Examples, model: str, *, least_side: int) -> int:
    """Number of channels of the examples' images.

    Args:
        examples: N examples.
        model: name of the model, for the message.
        least_side: least height and width that it reads.

    Raises:
        ValueError: the examples are no images, or are too small.
    """
    shape = examples.inputs.shape
    if len(shape) not in (3, 4):
        raise ValueError(
            f"model {model} reads images (N, H, W) or (N, H, W, C), got inputs of shape {shape}; use mlp for tables"
        )
    if min(shape[1:3]) < least_side:
        raise ValueError(
            f"model {model} reads images of at least {least_side}x{least_side} pixels, got {shape[1]}x{shape[2]}"
        )
    return shape[3] if len(shape) == 4 else 1


def channel_statistics(images: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel, for images scaled to [0, 1].

    Args:
        images: (N, H, W) or (N, H, W, C) uint8.

    Returns:
        Two (C, 1, 1) arrays.
    """
    pixels = images.reshape(-1, images.shape[3] if images.ndim == 4 else 1)
    values = np.arange(256) / 255.0
    shares = np.stack([np.bincount(column, minlength=256) for column in pixels.T]) / len(pixels)
    mean = shares @ values
    deviation = np.sqrt(np.maximum(shares @ values**2 - mean**2, 0.0))
    return mean[:, None, None], deviation[:, None, None]
