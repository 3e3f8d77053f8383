"""Early-learning regularisation (ELR): training that does not memorise wrong labels.

Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents
Memorization of Noisy Labels", NeurIPS 2020, section 4. https://arxiv.org/abs/2007.00151

A network fits the right labels first and memorises the wrong ones later. ELR keeps a running
average of its own predictions for every example and rewards agreement with that average,
which cancels the pull of a wrong label and keeps the pull of a right one alive.

Differs from the paper: probabilities are clamped to [1e-4, 1 - 1e-4] in the update and in the
regulariser, and renormalised in the update alone, as in the authors' code
(https://github.com/shengliu66/ELR); the cross entropy is of unclamped logits.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softmax

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.state import TrainState

CLAMP = 1e-4
"""Least probability, and distance of the greatest from 1; from the authors' code."""


def updated_targets(probs: Tensor, targets: Tensor, *, beta: float) -> Tensor:
    """Running averages after one more visit.

    Args:
        probs: (B, K) clamped probabilities of this visit.
        targets: (B, K) averages so far; zeros before the first visit.
        beta: share of the old average.

    Returns:
        (B, K) without a graph; rows sum to 1 - beta^visits.
    """
    current = probs.detach()
    return beta * targets + (1 - beta) * current / current.sum(dim=1, keepdim=True)


def elr_losses(logits: Tensor, labels: Tensor, targets: Tensor, *, beta: float, lam: float) -> tuple[Tensor, Tensor]:
    """Cross entropy plus lam * log(1 - <probs, target>), the target updated first.

    Args:
        logits: (B, K), with their graph.
        labels: (B,) given classes in [0, K), possibly wrong.
        targets: (B, K) running averages before this visit.
        beta: share of the old average, in [0, 1).
        lam: weight of the regulariser, at least 0.

    Returns:
        (B,) losses in nats, which may be negative, and the (B, K) updated targets.
    """
    probs = softmax(logits, dim=1).clamp(CLAMP, 1 - CLAMP)
    targets = updated_targets(probs, targets, beta=beta)
    agreement = (targets * probs).sum(dim=1)
    return cross_entropy(logits, labels, reduction="none") + lam * torch.log(1 - agreement), targets


@dataclass(frozen=True, kw_only=True)
class ELR(Learner):
    """Keep early predictions alive; weights scale both terms, and the target update ignores them.

    Defaults are the paper's for symmetric noise on CIFAR-10 (beta 0.9, lam 1 for asymmetric).
    """

    gives: ClassVar[tuple[str, ...]] = ("elr_targets",)

    beta: float = 0.7
    """Share of the old target in the running average, in [0, 1)."""
    lam: float = 3.0
    """Weight of the regulariser, at least 0; 0 is plain training."""

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {self.beta}")
        if not 0 <= self.lam < float("inf"):
            raise ValueError(f"lam must be at least 0, got {self.lam}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One forward pass; update the targets, then descend with them."""
        targets = state.per_example("elr_targets", width=state.num_classes)
        logits = state.models[0](batch.inputs)
        losses, updated = elr_losses(logits, batch.labels, targets[batch.positions], beta=self.beta, lam=self.lam)
        targets[batch.positions] = updated
        state.descend(losses, batch.weights)
        return StepReport(losses=losses.detach(), logits=logits.detach())
