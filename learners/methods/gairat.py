"""Geometry-aware instance-reweighted adversarial training (GAIRAT): easily attacked examples count most.

Zhang, Zhu, Niu, Han, Sugiyama, Kankanhalli, "Geometry-aware Instance-reweighted Adversarial
Training", ICLR 2021. https://arxiv.org/abs/2010.01736

How many steps of the attack an example stands stands for its distance from the decision boundary.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacked import ATTACKED, remember_attacked
from learners.attacks import Attack, label_loss, pgd_path
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.reweighting import REMEMBERED, effective_share, remember_weights
from learners.state import TrainState


def gairat_weights(steps_stood: Tensor, *, num_steps: int, lam: float) -> Tensor:
    """Weights (tanh(lam + 5 * (1 - 2 * stood / num_steps)) + 1) / 2, before they are scaled to mean 1.

    Args:
        steps_stood: (B,) steps of the attack before which the prediction was still right, in [0, num_steps].
        num_steps: of the attack.
        lam: shift; `inf` gives every example weight 1.

    Returns:
        (B,) in [0, 1], falling with the steps stood.
    """
    return (torch.tanh(lam + 5 * (1 - 2 * steps_stood / num_steps)) + 1) / 2


def gairat_losses(adversarial_logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of attacked examples times their weights, scaled to mean 1 in the batch.

    Args:
        adversarial_logits: (B, K) logits of attacked inputs.
        labels: (B,) given classes in [0, K).
        weights: (B,) of `gairat_weights`.

    Returns:
        (B,) losses in nats, at least 0.
    """
    return cross_entropy(adversarial_logits, labels, reduction="none") * weights / weights.mean()


@dataclass(frozen=True, kw_only=True)
class GAIRAT(Learner):
    """Adversarial training that turns to vulnerable examples once the network has settled.

    Gives `dro_weights` and `dro_mean_weights`, (N, 1) weights of the latest visit and their mean over
    visits, and `adversarial_margins`, (N, 1) in logit units, and `adversarial_loss`, (N, 1) in nats, where recorded.
    """

    gives: ClassVar[tuple[str, ...]] = (*REMEMBERED, *ATTACKED)

    lam: float = -1.0
    """Shift of the weights; `inf` is `pgd_training`; the authors' value."""
    burn_in: float = 0.5
    """Share of epochs with equal weights at the start, in [0, 1); the authors' 60 of 120 epochs."""
    attack: Attack = Attack()
    """The attack of every step."""

    def __post_init__(self) -> None:
        if not self.lam > float("-inf"):
            raise ValueError(f"lam must be above -inf, got {self.lam}")
        if not 0 <= self.burn_in < 1:
            raise ValueError(f"burn_in must be in [0, 1), got {self.burn_in}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One attack that is watched, one forward pass, one descent on the weighted losses."""
        network = state.models[0]
        inputs, path = pgd_path(
            network, batch.inputs, label_loss(batch.labels), self.attack, state.torch_draws("attack")
        )
        stood = (path.argmax(dim=2) == batch.labels).sum(dim=0)
        settled = state.epoch >= self.burn_in * state.total_epochs
        lam = self.lam if settled else float("inf")
        weights = gairat_weights(stood, num_steps=self.attack.num_steps, lam=lam)
        logits = network(inputs)
        losses = gairat_losses(logits, batch.labels, weights)
        state.descend(losses, batch.weights)
        remember_weights(state, batch, weights / weights.mean())
        remember_attacked(state, batch, logits)
        metrics = {"effective_share": effective_share(weights), "steps_stood": float(stood.float().mean())}
        return StepReport(losses=losses.detach(), logits=logits.detach(), metrics=metrics)
