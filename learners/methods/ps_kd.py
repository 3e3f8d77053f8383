"""Progressive self-knowledge distillation (PS-KD), remembering past predictions.

Kim, Ji, Yoon, Hwang, "Self-Knowledge Distillation with Progressive Refinement of Targets",
ICCV 2021. https://arxiv.org/abs/2006.12000

The network is its own teacher: an example's target blends its label with what the network
predicted for it at its latest visit, and the blend moves towards the prediction epoch by epoch.
This is the form of the authors' code (https://github.com/lgcnsai/PS-KD-Pytorch); `ps_kd_forward`
asks last epoch's network instead.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softmax

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.losses import soft_cross_entropy
from learners.self_distillation import blended_targets, share_of_past
from learners.state import TrainState


def ps_kd_losses(logits: Tensor, labels: Tensor, past_probs: Tensor, *, share: float) -> Tensor:
    """Cross entropy against (1 - share) * one-hot label + share * past prediction.

    Args:
        logits: (B, K).
        labels: (B,) given classes in [0, K), possibly wrong.
        past_probs: (B, K) probabilities of the latest visit; zeros before the first, where the label counts alone.
        share: how much the past prediction counts, in [0, 1].

    Returns:
        (B,) losses in nats, at least the entropy of the target.
    """
    return soft_cross_entropy(logits, blended_targets(labels, past_probs, share=share))


@dataclass(frozen=True, kw_only=True)
class PSKD(Learner):
    """Learn from one's own past; weights scale the loss, and the memory ignores them.

    Gives `ps_kd_targets`: (N, K) probabilities at each example's latest visit, which its next
    target is blended with; zeros for examples never visited.
    """

    gives: ClassVar[tuple[str, ...]] = ("ps_kd_targets",)

    alpha: float = 0.8
    """Share of the past prediction in the last epoch, reached linearly, in [0, 1]; 0 is plain training; the paper's."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One forward pass; descend towards the blend, then remember this prediction for the next visit."""
        memory = state.per_example("ps_kd_targets", width=state.num_classes)
        share = share_of_past(self.alpha, state.epoch, state.total_epochs)
        logits = state.models[0](batch.inputs)
        losses = ps_kd_losses(logits, batch.labels, memory[batch.positions], share=share)
        memory[batch.positions] = softmax(logits.detach(), dim=1)
        state.descend(losses, batch.weights)
        return StepReport(losses=losses.detach(), logits=logits.detach(), metrics={"share_of_past": share})
