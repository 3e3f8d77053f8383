"""Adversarial training with projected gradients (AT): fit the worst inputs near the given ones.

Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018. https://arxiv.org/abs/1706.06083
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacked import ATTACKED, remember_attacked
from learners.attacks import Attack, label_loss, pgd
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.state import TrainState


def pgd_training_losses(adversarial_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each attacked example.

    Args:
        adversarial_logits: (B, K) logits of attacked inputs.
        labels: (B,) given classes in [0, K).

    Returns:
        (B,) losses in nats, at least 0.
    """
    return cross_entropy(adversarial_logits, labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class PGDTraining(Learner):
    """Attack every batch, then descend on the attacked inputs.

    Gives `adversarial_margins` and, where it is recorded, `adversarial_loss`: (N, 1) margins in logit units and cross
    entropy in nats of each example's latest attacked visit.
    """

    gives: ClassVar[tuple[str, ...]] = ATTACKED

    attack: Attack = Attack()
    """The attack of every step; epsilon 0 is plain training."""

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One attack, one forward pass on its result, one descent."""
        network = state.models[0]
        inputs = pgd(network, batch.inputs, label_loss(batch.labels), self.attack, state.torch_draws("attack"))
        logits = network(inputs)
        losses = pgd_training_losses(logits, batch.labels)
        state.descend(losses, batch.weights)
        remember_attacked(state, batch, logits)
        return StepReport(losses=losses.detach(), logits=logits.detach())
