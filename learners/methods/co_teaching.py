"""Co-teaching: two networks, each choosing by small loss what the other learns from.

Han, Yao, Yu, Niu, Xu, Hu, Tsang, Sugiyama, "Co-teaching: Robust Training of Deep Neural Networks
with Extremely Noisy Labels", NeurIPS 2018, algorithm 1. https://arxiv.org/abs/1804.06872

Wrong labels have large losses early in training. Each network leaves out the largest losses of a
batch, and hands what is left to the other, whose errors are different ones.

Differs from the paper: the share left out starts at 0 in the first epoch and grows by
1 / warmup_epochs of its final value an epoch.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.state import TrainState


def co_teaching_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each example: what both networks rank by and minimise.

    Args:
        logits: (B, K).
        labels: (B,) given classes in [0, K), possibly wrong.

    Returns:
        (B,) losses in nats, at least 0.
    """
    return cross_entropy(logits, labels, reduction="none")


def smallest_rows(losses: Tensor, forget: float) -> Tensor:
    """Rows of the smallest losses, in ascending order of row; ties go to the lower row.

    Args:
        losses: (B,).
        forget: share of rows left out, in [0, 1).

    Returns:
        (M,) rows, M = floor((1 - forget) * B) but at least 1.
    """
    keep = max(1, int((1 - forget) * len(losses) + 1e-9))  # 0.2 * 5 is a little less than 1 in binary
    return torch.argsort(losses.detach(), stable=True)[:keep].sort().values


@dataclass(frozen=True, kw_only=True)
class CoTeaching(Learner):
    """Train two networks on each other's small losses; weights scale the loss and not the ranking.

    Predictions are the mean of the two networks' logits.
    """

    num_models: ClassVar[int] = 2

    forget_rate: float = 0.2
    """Share of each batch left out once warmed up, in [0, 1); the noise rate if known; 0 is plain training."""
    warmup_epochs: int = 10
    """Epochs, at least 1, over which the share left out grows from 0, linearly; the paper's value."""

    def __post_init__(self) -> None:
        if not 0 <= self.forget_rate < 1:
            raise ValueError(f"forget_rate must be in [0, 1), got {self.forget_rate}")
        if self.warmup_epochs < 1:
            raise ValueError(f"warmup_epochs must be at least 1, got {self.warmup_epochs}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """Two forward passes; each network descends on the rows the other chose."""
        forget = self.forget_rate * min(1.0, state.epoch / self.warmup_epochs)
        logits = [model(batch.inputs) for model in state.models]
        losses = [co_teaching_losses(one, batch.labels) for one in logits]
        chosen = [smallest_rows(one, forget) for one in losses]
        for pupil, teacher in ((0, 1), (1, 0)):
            rows = chosen[teacher]
            state.descend(losses[pupil][rows], batch.weights[rows], model=pupil)
        return StepReport(
            losses=torch.stack(losses).detach().mean(dim=0),
            logits=torch.stack(logits).detach().mean(dim=0),
            metrics={"kept": len(chosen[0]) / len(batch)},
        )
