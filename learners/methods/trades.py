"""TRADES: cross entropy on clean inputs plus how far predictions move under attack.

Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, "Theoretically Principled Trade-off between Robustness
and Accuracy", ICML 2019. https://arxiv.org/abs/1901.08573
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacked import ATTACKED, remember_attacked
from learners.attacks import Attack, evaluation_mode, pgd
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.losses import kl_divergence
from learners.state import TrainState


def trades_losses(logits: Tensor, adversarial_logits: Tensor, labels: Tensor, *, beta: float) -> Tensor:
    """Clean cross entropy plus beta * KL(clean prediction || attacked prediction).

    Args:
        logits: (B, K) on the inputs as they are; gradients flow into both.
        adversarial_logits: (B, K) on attacked inputs.
        labels: (B,) given classes in [0, K).
        beta: weight of the divergence, at least 0.

    Returns:
        (B,) losses in nats, at least 0.
    """
    return cross_entropy(logits, labels, reduction="none") + beta * kl_divergence(logits, adversarial_logits)


@dataclass(frozen=True, kw_only=True)
class TRADES(Learner):
    """Trade accuracy for stability; the attack raises the divergence and reads no label.

    Gives `adversarial_margins` and, where it is recorded, `adversarial_loss`: (N, 1) margins in logit units and cross
    entropy in nats of each example's latest attacked visit.
    """

    gives: ClassVar[tuple[str, ...]] = ATTACKED

    beta: float = 6.0
    """Weight of the divergence, at least 0; 0 is plain training; the paper's value on CIFAR-10."""
    attack: Attack = Attack(start="gaussian")
    """The attack of every step, `uniform` where only other parts of it are set; the divergence has no gradient at
    the input itself, so `zero` never moves."""

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta must be at least 0, got {self.beta}")
        if self.attack.start == "zero" and self.attack.epsilon > 0:
            raise ValueError("attack.start must be uniform or gaussian for trades, got 'zero', which never moves")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One attack on the clean prediction, a clean and an attacked forward pass, one descent."""
        network = state.models[0]
        with evaluation_mode(network), torch.no_grad():
            clean = network(batch.inputs)
        inputs = pgd(
            network,
            batch.inputs,
            lambda attacked: kl_divergence(clean, attacked),
            self.attack,
            state.torch_draws("attack"),
        )
        logits, adversarial = network(batch.inputs), network(inputs)
        losses = trades_losses(logits, adversarial, batch.labels, beta=self.beta)
        state.descend(losses, batch.weights)
        remember_attacked(state, batch, adversarial)
        return StepReport(losses=losses.detach(), logits=logits.detach())
