"""Descent: how a loss becomes an update of weights, and where in a step training is."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from learners.distributed import Ranks


@dataclass(kw_only=True, eq=False)
class Descent:
    """Settings of updates, and the part and pass of the step that is being walked."""

    clip_norm: float | None = None
    """Greatest length of a network's gradient; None leaves it as it is."""
    ema: float | None = None
    """Share of the old weights in the running average of the weights; None keeps no average."""
    sam_radius: float | None = None
    """How far to climb on the first of two passes; None descends on the only one."""
    ranks: Ranks = field(default_factory=Ranks)
    """The processes that train together."""
    part: int = 0
    """Which part of the batch, counted from 0."""
    num_parts: int = 1
    """Parts of the batch."""
    total: int | None = None
    """Rows of this part over all ranks; None for those that the learner was given."""
    share: float = 1.0
    """Rows that the learner was given over rows of the batch, in (0, 1]."""
    climbing: bool = False
    """Whether this is the first of two passes."""
    origins: dict[int, list[Tensor]] = field(default_factory=dict)
    """Weights before the climb, by number of the network; empty on the first pass."""

    @property
    def completes_gradient(self) -> bool:
        """Whether this is the last part."""
        return self.part + 1 == self.num_parts

    @property
    def completes_step(self) -> bool:
        """Whether weights are updated on this part of this pass."""
        return self.completes_gradient and not self.climbing

    def add_gradients(self, losses: Tensor, weights: Tensor) -> None:
        """Add the gradient of this part's share of sum(weights * losses) / B to that of every parameter.

        What the sum passes on to each loss is known, so no graph is made of it.

        Args:
            losses: (B,) per-example losses in nats, with their graph.
            weights: (B,) weights of at least 0, without a graph.
        """
        exact = torch.promote_types(losses.dtype, weights.dtype)
        pulls = torch.full_like(weights, self.share, dtype=exact).div_(len(losses)).mul_(weights)
        torch.autograd.backward(losses, pulls.to(losses.dtype))


def forget_gradients(optimizer: Optimizer) -> None:
    """Leave the optimiser's parameters without gradients, as its `zero_grad` does, at a fraction of the time."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No mixed precision inside the block, where there is some around it."""
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
