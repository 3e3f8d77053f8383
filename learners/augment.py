"""Augmentation: seeded changes of images in training.

`crop` pads with black and cuts an image of the old size out at a random place; `flip` mirrors left and right in half
of all cases; `cutout` blackens a square around a random pixel: DeVries, Taylor, "Improved Regularization of
Convolutional Neural Networks with Cutout", 2017. https://arxiv.org/abs/1708.04552

What happens to an image follows from the seed, the number of the pass over the data and its position alone: neither
the batch it comes in, nor the number of workers or processes, nor a resumed run can change it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.randomness import generator

AugmentName = Literal["crop", "flip", "cutout"]

CROP_PADDING = 4
"""Pixels of black where none are set: usual for images of 32 pixels."""


def uniform_draws(key: int, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """One number for each position, by the finaliser of SplitMix64: alike for one key and position, else unrelated.

    Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    https://doi.org/10.1145/2660193.2660195

    Args:
        key: 64 random bits.
        positions: (B,) at least 0.

    Returns:
        (B,) in [0, 1).
    """
    mixed = positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def cropped(images: Tensor, down: Tensor, right: Tensor, *, padding: int) -> Tensor:
    """Images of the old size, cut out of padded ones.

    Args:
        images: (B, C, H, W).
        down: (B,) int64 first row of the cut in the padded image, in [0, 2 * padding]; `padding` moves nothing.
        right: (B,) first column.
        padding: pixels of black on every side.
    """
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    size, channels, height, width = images.shape
    rows = down[:, None] + torch.arange(height, device=images.device)
    columns = right[:, None] + torch.arange(width, device=images.device)
    batch = torch.arange(size, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[batch, channel, rows[:, None, :, None], columns[:, None, None, :]]


def flipped(images: Tensor, mirrored: Tensor) -> Tensor:
    """Those of the (B, C, H, W) images mirrored left to right for which (B,) `mirrored` is true."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def cut_out(images: Tensor, row: Tensor, column: Tensor, *, size: int) -> Tensor:
    """Images with a black square, which may reach over the edge.

    Args:
        images: (B, C, H, W).
        row: (B,) the square's middle row in [0, H); of an even size the lower of the two.
        column: (B,) its middle column in [0, W).
        size: side in pixels.
    """
    masks = []
    for centre, length in ((row, images.shape[2]), (column, images.shape[3])):
        away = torch.arange(length, device=images.device) - (centre[:, None] - size // 2)
        masks.append((away >= 0) & (away < size))
    square = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return images.masked_fill(square, 0.0)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The changes that training makes to images."""

    names: tuple[AugmentName, ...]
    """Which, in order; none leaves inputs as they are."""
    crop_padding: int | None
    """Pixels of black around a crop, at least 1; None is 4."""
    cutout_size: int | None
    """Side of a cutout, at least 1; None is half the shorter side."""
    seed: int
    """The run's seed."""

    def applied(self, inputs: Tensor, positions: NDArray[np.int64], pass_number: int) -> Tensor:
        """Inputs as training sees them.

        Args:
            inputs: (B, C, H, W) images.
            positions: (B,) positions of the examples.
            pass_number: which pass over the data this is, counted from 0.

        Returns:
            (B, C, H, W).
        """
        for name in self.names:
            keys = generator(self.seed, f"augment {name}", pass_number).integers(2**64, size=2, dtype=np.uint64)
            first, second = (uniform_draws(int(key), positions) for key in keys)
            height, width = inputs.shape[2:]
            if name == "flip":
                inputs = flipped(inputs, torch.from_numpy(first < 0.5).to(inputs.device))
            elif name == "crop":
                padding = self.crop_padding or CROP_PADDING
                places = (_whole(draws, 2 * padding + 1, inputs) for draws in (first, second))
                inputs = cropped(inputs, *places, padding=padding)
            else:
                size = self.cutout_size or max(1, min(height, width) // 2)
                inputs = cut_out(inputs, _whole(first, height, inputs), _whole(second, width, inputs), size=size)
        return inputs


def _whole(draws: NDArray[np.float64], count: int, like: Tensor) -> Tensor:
    """(B,) whole numbers in [0, count), on the device of the inputs."""
    return torch.from_numpy((draws * count).astype(np.int64)).to(like.device)
