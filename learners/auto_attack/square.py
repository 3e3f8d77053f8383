"""Square attack: a random search that asks a network for logits alone.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial
attack via random search", ECCV 2020, algorithms 1 to 3. https://arxiv.org/abs/1912.00049

A square of the image is set to the far ends of the ball, with one sign per channel, and kept where
the margin falls; the squares shrink as the search goes on. In l2 a pair of pyramids is added to what the
square holds, which grows by what a second square gives up.

Differs from the paper: all rows of a call try the same squares and signs, so that a row's result does
not depend on which rows are beside it. In a table, where no features are neighbours, a random subset of
features stands for the square, each with a sign of its own.
"""

import math

import torch
from torch import Tensor

from learners.attacks import per_row
from learners.auto_attack.offsets import OffsetSpace
from learners.auto_attack.pyramids import pyramid_pair, tile_grid, tiled
from learners.losses import label_margins

FIRST_SHARE = 0.8
"""Share of the features in the first squares; AutoAttack's p_init."""
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Parts of the search after which the share is halved: those of the paper for 10,000 queries."""

TINY = 1e-12
"""Least length divided by."""


def share_at(query: int, num_queries: int) -> float:
    """Share of the features that a query changes.

    Args:
        query: its number, counted from 0.
        num_queries: of the whole search.
    """
    place = int(query / num_queries * 10_000) / 10_000
    return FIRST_SHARE * 0.5 ** sum(place > part for part in HALVINGS)


def square(space: OffsetSpace, *, num_queries: int, generator: torch.Generator) -> Tensor:
    """Offsets at which a row is fooled, or its margin is the lowest found.

    Args:
        space: B inputs and the ball around each.
        num_queries: forward passes for each row that stays robust, the start not counted; at least 1.
        generator: of the start and the squares.

    Returns:
        (B, ...) offsets in the ball and the bounds.
    """
    best = space.projected(_reaching(space, _start(space, generator).expand_as(space.box.centre)))
    logits = space.logits(space.inputs(best))
    margins = label_margins(logits, space.labels)
    standing = torch.nonzero(~space.fooled(logits)).flatten()
    near, current, margins = space.take(standing), best[standing], margins[standing]
    for query in range(num_queries):
        if not len(standing):
            break
        tried = near.projected(_proposal(near, current, share_at(query, num_queries), generator))
        logits = near.logits(near.inputs(tried))
        found, fooled = label_margins(logits, near.labels), near.fooled(logits)
        better = torch.nonzero(fooled | (found < margins)).flatten()
        current[better], margins[better] = tried[better], found[better]
        if fooled.any():
            best[standing[fooled]] = current[fooled]
            left = ~fooled
            near, standing, current, margins = near.take(left), standing[left], current[left], margins[left]
    best[standing] = current
    return best


def _start(space: OffsetSpace, generator: torch.Generator) -> Tensor:
    """(1, ...) directions: vertical stripes, or in l2 tiles; in a table random signs."""
    shape = tuple(space.box.centre.shape[1:])
    if len(shape) == 1:
        start = _signs(shape, generator)
    elif space.threat.norm == "linf":
        start = _signs((shape[0], 1, shape[2]), generator)
    else:
        channels, height, width = shape
        start = tiled((channels, height, width), _signs((channels, *tile_grid(height, width)), generator))
    return start[None].to(space.box.centre)


def _proposal(space: OffsetSpace, best: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The best offsets with a window changed."""
    if space.threat.norm == "linf":
        inside, change = _window(best, share, generator, least_side=1)
        return torch.where(inside, _reaching(space, change), best)
    inside, change = _window(best, share, generator, least_side=3)
    other, _ = _window(best, share, generator, least_side=3)
    over = tuple(range(2, best.ndim)) or (1,)
    free = (space.threat.epsilon**2 - (best**2).flatten(1).sum(dim=1)).clamp_min(0.0)
    given = (best * (inside | other)).square().sum(dim=over, keepdim=True)
    mass = given + per_row(free, best) / (best.shape[1] if best.ndim > 2 else 1)
    old = best * inside
    new = change + old / old.norm(dim=over, keepdim=True).clamp_min(TINY)
    new = new * mass.sqrt() / new.norm(dim=over, keepdim=True).clamp_min(TINY)
    return _reaching(space, torch.where(inside, new, torch.where(other, 0.0, best)))


def _window(best: Tensor, share: float, generator: torch.Generator, *, least_side: int) -> tuple[Tensor, Tensor]:
    """Which features a query changes, and how; both broadcast against the rows.

    The change is a sign per channel, or where the least side is 3 a pair of pyramids of length 1 per channel;
    in a table a sign per feature.
    """
    shape = best.shape[1:]
    if len(shape) == 1:
        inside = torch.zeros(1, shape[0], dtype=torch.bool, device=best.device)
        inside[0, torch.randperm(shape[0], generator=generator)[: max(round(share * shape[0]), 1)]] = True
        return inside, _signs((1, *shape), generator).to(best) * inside / inside.sum().sqrt()
    channels, height, width = shape
    side = max(round(math.sqrt(share * height * width)), least_side)
    side = min(side + (least_side == 3 and side % 2 == 0), height, width)
    top = int(torch.randint(height - side + 1, (), generator=generator))
    left = int(torch.randint(width - side + 1, (), generator=generator))
    content = torch.ones(side, side)
    if least_side == 3:
        content = pyramid_pair(side)
        content = content.T if torch.rand((), generator=generator) > 0.5 else content
    change = torch.zeros(1, channels, height, width)
    change[..., top : top + side, left : left + side] = content * _signs((1, channels, 1, 1), generator)
    inside = torch.zeros(1, 1, height, width, dtype=torch.bool, device=best.device)
    inside[..., top : top + side, left : left + side] = True
    return inside, change.to(best)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.randint(2, shape, generator=generator) - 1


def _reaching(space: OffsetSpace, directions: Tensor) -> Tensor:
    """Offsets in these directions as large as the ball allows."""
    return space.threat.epsilon * space.steepest(directions)
