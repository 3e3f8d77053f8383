"""Fast adaptive boundary (FAB), targeted: the smallest move to the boundary with one other class.

Croce, Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack",
ICML 2020, algorithm 1. https://arxiv.org/abs/1907.02044

Each step takes the network as linear, moves onto its boundary inside the bounds by the shortest
way, and is drawn towards the shortest way from the input itself.

Differs from the paper: it is done with a row whose offset lies in the ball, and ends when all do,
since within the ensemble nothing asks for a still smaller one; it starts at the input, without
restarts, as AutoAttack's standard version does.
"""

import torch
from torch import Tensor

from learners.attacks import Norm, per_row
from learners.auto_attack.logit_ratios import logit_difference
from learners.auto_attack.offsets import OffsetSpace, chosen

OVERSHOOT = 1.05
"""How far a step goes beyond the boundary, in units of the way to it; the paper's eta."""
MOST_BIAS = 0.1
"""Greatest share of the way that starts at the input itself; the paper's alpha_max."""
BACK = 0.9
"""Share of its offset that a fooled row keeps, to look for a smaller one; the paper's beta."""


def fab(space: OffsetSpace, targets: Tensor, *, num_steps: int) -> Tensor:
    """The smallest offsets found at which a row is fooled.

    Args:
        space: B inputs, none of them fooled.
        targets: (B,) other classes, towards which each is moved.
        num_steps: linearisations, at least 1.

    Returns:
        (B, ...) offsets inside the bounds; beyond the ball where no smaller one was found, 0 where none was.
    """
    current = torch.zeros_like(space.box.centre)
    found, found_sizes = current, torch.full_like(space.labels, torch.inf, dtype=current.dtype)
    for _ in range(num_steps):
        if (found_sizes <= space.threat.epsilon).all():
            break
        gradients, logits = space.gradients(current, lambda logits: logit_difference(logits, space.labels, targets))
        gaps = -logit_difference(logits, space.labels, targets)
        from_input = gaps + (gradients * current).flatten(1).sum(dim=1)
        near = shortest_way(gradients, gaps, space.least - current, space.most - current, space.threat.norm)
        far = shortest_way(gradients, from_input, space.least, space.most, space.threat.norm)
        near_sizes, far_sizes = space.sizes(near), space.sizes(far)
        bias = near_sizes / (near_sizes + far_sizes).clamp_min(torch.finfo(near.dtype).tiny)
        share = per_row(bias.clamp_max(MOST_BIAS), near)
        current = (1 - share) * (current + OVERSHOOT * near) + share * OVERSHOOT * far
        current = current.clamp(space.least, space.most)
        fooled = space.fooled(space.logits(space.inputs(current)))
        sizes = space.sizes(current)
        smaller = fooled & (sizes < found_sizes)
        found, found_sizes = chosen(smaller, current, found), torch.where(smaller, sizes, found_sizes)
        current = chosen(fooled, BACK * current, current)
    return found


def shortest_way(gradients: Tensor, rises: Tensor, least: Tensor, most: Tensor, norm: Norm) -> Tensor:
    """The smallest move in a box along which a linear function rises by so much.

    Args:
        gradients: (B, ...) of the function.
        rises: (B,) by how much it is to change, of either sign.
        least: (B, ...) least move of each feature, at most 0.
        most: (B, ...) greatest move, at least 0.
        norm: in which the move is smallest.

    Returns:
        (B, ...) moves; the box's best corner where it does not reach, and 0 where the function is flat.
    """
    slopes = gradients.flatten(1).abs()
    upward = gradients.flatten(1).sign() * rises.sign()[:, None]
    room = torch.where(upward > 0, most.flatten(1), -least.flatten(1)).clamp_min(0.0)
    # Feature j moves by min(length * pace_j, room_j): all alike in linf, each as its slope in l2. The rise is concave
    # in the length, so that Newton's steps from 0 never go too far, and end once no further feature is stopped.
    pace = torch.ones_like(slopes) if norm == "linf" else slopes
    rates, gains = slopes * pace, torch.where(room < torch.inf, slopes * room, 0.0)
    still = (slopes == 0) | (room == 0)
    length, num_stopped = torch.zeros_like(rises)[:, None], -1
    while True:
        stopped = still | (length * pace >= room)
        if (now_stopped := int(stopped.sum())) == num_stopped:
            break
        num_stopped = now_stopped
        rate = torch.where(stopped, 0.0, rates).sum(dim=1, keepdim=True)
        missing = rises.abs()[:, None] - torch.where(stopped, gains, 0.0).sum(dim=1, keepdim=True)
        length = length.maximum(torch.where(rate > 0, missing / rate, torch.inf))
    moves = torch.where(still, 0.0, torch.minimum(length * pace, room))
    return (upward * moves).view_as(gradients)
