"""Adversarial training with projected gradients (AT): fit the worst inputs near the given ones.

Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018. https://arxiv.org/abs/1706.06083
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacks import Attack, label_loss, pgd
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.losses import label_margins
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

    Gives `adversarial_margins`: (N, 1) margins in logit units of each example's latest attacked visit.
    """

    gives: ClassVar[tuple[str, ...]] = ("adversarial_margins",)

    attack: Attack = Attack()
    """The attack of every step; epsilon 0 is plain training."""

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One attack, one forward pass on its result, one descent."""
        network = state.models[0]
        inputs = pgd(network, batch.inputs, label_loss(batch.labels), self.attack, state.torch_draws("attack"))
        logits = network(inputs)
        losses = pgd_training_losses(logits, batch.labels)
        state.descend(losses, batch.weights)
        margins = state.per_example("adversarial_margins", width=1)
        margins[batch.positions] = label_margins(logits.detach(), batch.labels)[:, None]
        return StepReport(losses=losses.detach(), logits=logits.detach())
