"""Pairs of pyramids: what the square attack puts into a square when the length of the change is bounded.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial
attack via random search", ECCV 2020, section 3.4. https://arxiv.org/abs/1912.00049
"""

import torch
from torch import Tensor


def pyramid(height: int, width: int) -> Tensor:
    """(height, width) values that fall with the distance from the middle, of length 1.

    A cell at distance d (the larger of that in rows and that in columns) holds the sum of 1 / (j + 1)^2 for j from d
    to half the longer side.
    """
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    distances = torch.maximum(rows[:, None], columns[None, :])
    terms = torch.arange(1.0, max(height, width) // 2 + 2).square().reciprocal()
    values = terms.flip(0).cumsum(0).flip(0)[distances]
    return values.div(values.norm())


def pyramid_pair(side: int) -> Tensor:
    """(side, side) values of length 1: a pyramid above, and one of the other sign below."""
    upper = side // 2
    pair = torch.cat([pyramid(upper, side)] * (upper > 0) + [-pyramid(side - upper, side)])
    return pair.div(pair.norm())


def tiled(shape: tuple[int, int, int], signs: Tensor) -> Tensor:
    """An image of pyramid pairs side by side, each with a sign of its own, in the middle of the image.

    Args:
        shape: (C, H, W) of the image.
        signs: (C, rows, columns) of the tiles, as `tile_grid` counts them.
    """
    channels, height, width = shape
    side = tile_side(height, width)
    tiles = torch.kron(signs.to(torch.get_default_dtype()), pyramid_pair(side)[None])
    image = torch.zeros(channels, height, width)
    top, left = (height - tiles.shape[1]) // 2, (width - tiles.shape[2]) // 2
    image[:, top : top + tiles.shape[1], left : left + tiles.shape[2]] = tiles
    return image


def tile_side(height: int, width: int) -> int:
    """Side of a tile: a fifth of the shorter side, at least 1."""
    return max(min(height, width) // 5, 1)


def tile_grid(height: int, width: int) -> tuple[int, int]:
    """How many whole tiles fit below and beside each other."""
    side = tile_side(height, width)
    return height // side, width // side
