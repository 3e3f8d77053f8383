"""Early-learning regularisation with two networks (ELR+): averaged weights, mixup, each other's targets.

Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents
Memorization of Noisy Labels", NeurIPS 2020, section 4.4 and appendix.
https://arxiv.org/abs/2007.00151

Each network trains on mixed inputs and labels; its targets are running averages of what the other
network's weight average predicts on the inputs as they are.

Differs from the paper: ramps given there in steps are shares of the total here. Predictions are the
mean of the two trained networks' logits, not of their averages. The target of CIFAR-100, which also
enters the cross entropy, is left out.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softmax

from learners.averaging import average_weights
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.losses import soft_cross_entropy
from learners.state import TrainState

CLAMP = 1e-4
"""Least probability in the regulariser, and distance of the greatest from 1; from the authors' code."""


def ramp(step: int, length: float) -> float:
    """exp(-5 (1 - step / length)^2) up to the length, then 1; a length of 0 is no ramp."""
    return math.exp(-5 * (1 - step / length) ** 2) if step < length else 1.0


def elr_plus_losses(logits: Tensor, labels: Tensor, targets: Tensor, *, lam: float) -> Tensor:
    """Cross entropy with mixed labels plus lam * log(1 - <probs, target>).

    Args:
        logits: (B, K) of mixed inputs.
        labels: (B, K) mixed labels, rows that sum to 1.
        targets: (B, K) mixed running averages, without a graph.
        lam: weight of the regulariser, at least 0.

    Returns:
        (B,) losses in nats, which may be negative.
    """
    agreement = (targets * softmax(logits, dim=1).clamp(CLAMP, 1 - CLAMP)).sum(dim=1)
    return soft_cross_entropy(logits, labels) + lam * torch.log(1 - agreement)


@dataclass(frozen=True, kw_only=True)
class ELRPlus(Learner):
    """Two networks keep each other's early predictions alive; weights scale the losses, not the targets.

    Defaults are the paper's for symmetric noise on CIFAR-10 (beta 0.9, lam 1 for asymmetric).
    Gives `elr_targets` of the first network and `elr_targets_second`, (N, K) each.
    """

    num_models: ClassVar[int] = 2
    gives: ClassVar[tuple[str, ...]] = ("elr_targets", "elr_targets_second")

    beta: float = 0.7
    """Share of the old target in the running average, in [0, 1)."""
    lam: float = 3.0
    """Weight of the regulariser, at least 0; 0 is mixup training of two networks."""
    lam_ramp: float = 0.0
    """Share of all steps over which lam grows, in [0, 1]; about 0.45 on CIFAR-100."""
    mixup_alpha: float = 1.0
    """Both parameters of mixup's beta distribution, at least 0; 0 mixes nothing."""
    average_decay: float = 0.997
    """Share of the old weights in the weight average, in [0, 1)."""
    average_ramp: float = 0.57
    """Share of all steps over which that share grows, in [0, 1]; the authors' 40,000 steps on CIFAR-10."""

    def __post_init__(self) -> None:
        for name in ("beta", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("lam", "mixup_alpha"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("lam_ramp", "average_ramp"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """Each network in turn: the other's average updates its targets, then it descends on mixed inputs."""
        averages = [state.copied(f"average_{number}", model=number).train() for number in (0, 1)]
        decay = self.average_decay * ramp(state.step, self.average_ramp * state.total_steps)
        seen = [self.train_one(state, batch, number, averages) for number in (0, 1)]
        if state.completes_step:
            for average, network in zip(averages, state.models, strict=True):
                average_weights(average, network, decay)
        return StepReport(
            losses=torch.stack([losses for losses, _ in seen]).mean(dim=0),
            logits=torch.stack([logits for _, logits in seen]).mean(dim=0),
        )

    def train_one(
        self, state: TrainState, batch: Batch, number: int, averages: list[nn.Module]
    ) -> tuple[Tensor, Tensor]:
        """Losses and (B, K) logits of one network's turn, detached; the logits are the average's, of unmixed inputs."""
        memory = state.per_example(self.gives[number], width=state.num_classes)
        with torch.no_grad():
            logits = averages[1 - number](batch.inputs)
            targets = self.beta * memory[batch.positions] + (1 - self.beta) * softmax(logits, dim=1)
        memory[batch.positions] = targets
        labels = one_hot(batch.labels, state.num_classes).to(logits)
        share, partners = self.mixing(state, len(batch), number)
        inputs, labels, targets = (
            share * part + (1 - share) * part[partners] for part in (batch.inputs, labels, targets)
        )
        lam = self.lam * ramp(state.step, self.lam_ramp * state.total_steps)
        losses = elr_plus_losses(state.models[number](inputs), labels, targets, lam=lam)
        weights = share * batch.weights + (1 - share) * batch.weights[partners]
        state.descend(losses, weights, model=number)
        return losses.detach(), logits

    def mixing(self, state: TrainState, size: int, number: int) -> tuple[float, Tensor]:
        """Share of each example's own part in its mix, at least one half, and the (B,) rows it is mixed with."""
        draws = state.draws("mixup", number)
        share = float(draws.beta(self.mixup_alpha, self.mixup_alpha)) if self.mixup_alpha > 0 else 1.0
        return max(share, 1 - share), torch.from_numpy(draws.permutation(size))
