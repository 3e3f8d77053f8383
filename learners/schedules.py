"""Schedules: the learning rate of every step as a share of the one that was set.

`cosine`: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, without
restarts. https://arxiv.org/abs/1608.03983
`one_cycle`: Smith, Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
Rates", 2018. https://arxiv.org/abs/1708.07120
Warm-up: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017.
https://arxiv.org/abs/1706.02677

Every length is a share of all steps, so a schedule fits any number of epochs.

Differs from the paper: `one_cycle` follows cosines, as PyTorch's does, and leaves the momentum alone.
"""

import math
from typing import Literal

ScheduleName = Literal["cosine", "constant", "one_cycle", "step"]

MILESTONES = (0.5, 0.75)
"""Shares of all steps after which `step` falls, where none are set: those of the ResNet and DenseNet papers."""

FALL = 0.1
"""What `step` multiplies the learning rate by at each milestone."""

RISE = 0.3
"""Share of all steps over which `one_cycle` rises."""

ONE_CYCLE_START = 1 / 25
"""Share of the learning rate that `one_cycle` starts from."""

ONE_CYCLE_END = 1 / 250_000
"""Share of the learning rate that `one_cycle` ends at."""


def schedule_factor(
    schedule: ScheduleName, step: int, total_steps: int, *, warm_up: float = 0.0, milestones: tuple[float, ...] = ()
) -> float:
    """What the learning rate is multiplied by at a step.

    Args:
        schedule: its name.
        step: counted from 0.
        total_steps: planned steps, at least 1.
        warm_up: share of all steps, in [0, 1), over which the factor grows from near 0 to the schedule's first
            value; the schedule fills what is left.
        milestones: shares of the steps after the warm-up at which `step` falls.

    Returns:
        At least 0, and at most 1.
    """
    warm_steps = int(warm_up * total_steps)
    if step < warm_steps:
        first = schedule_factor(schedule, 0, total_steps - warm_steps, milestones=milestones)
        return first * (step + 1) / (warm_steps + 1)
    step, total_steps = step - warm_steps, total_steps - warm_steps
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * step / total_steps))
    if schedule == "one_cycle":
        return one_cycle_factor(step / total_steps)
    if schedule == "step":
        return FALL ** sum(step >= share * total_steps for share in milestones)
    return 1.0


def one_cycle_factor(done: float) -> float:
    """Half a cosine up to 1, then half a cosine down.

    Args:
        done: share of the steps that are over, in [0, 1].
    """
    low, place = (ONE_CYCLE_START, done / RISE) if done < RISE else (ONE_CYCLE_END, (1 - done) / (1 - RISE))
    return low + (1 - low) * 0.5 * (1 - math.cos(math.pi * place))
