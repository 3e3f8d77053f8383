"""The log barrier that makes an attacked point a smooth function of the network's weights.

Without it the bounds of an attack leave no derivative: a point at a bound stays there. With it the
attacked point lies strictly inside, and the implicit function theorem gives the derivative.
"""

import torch
from torch import Tensor

from learners.attacks import Region


def barrier_solution(box: Region, gradient: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Where <gradient, x> + strength * (log(high - x) + log(x - low)) is greatest, and the implicit direction there.

    Args:
        box: bounds low and high of each feature.
        gradient: (B, ...) of the attacked loss in the inputs.
        strength: of the barrier, above 0.

    Returns:
        (B, ...) points inside the box, and (B, ...) curvature of the barrier over the strength,
        1 / (high - x)^2 + 1 / (x - low)^2.
    """
    half = (box.high - box.low) / 2
    shift = gradient * half**2 / (strength + torch.sqrt(strength**2 + (gradient * half) ** 2))
    return (box.high + box.low) / 2 + shift, 1 / (half - shift) ** 2 + 1 / (half + shift) ** 2


def implicit_losses(losses: Tensor, inputs: Tensor, curvature: Tensor, *, strength: float) -> Tensor:
    """Losses whose gradient in the weights follows the attacked point as the weights change.

    Args:
        losses: (B,) with their graph down to `inputs`.
        inputs: (B, ...) attacked inputs that require a gradient.
        curvature: (B, ...) of `barrier_solution`.
        strength: of the barrier, above 0.

    Returns:
        (B,) losses plus <input gradient, constant input gradient / (strength * curvature)>.
    """
    (gradient,) = torch.autograd.grad(losses.sum(), inputs, create_graph=True)
    direction = (gradient / (strength * curvature)).detach()
    return losses + (gradient * direction).flatten(1).sum(dim=1)
