"""Progressive self-knowledge distillation (PS-KD), asking last epoch's network.

Kim, Ji, Yoon, Hwang, "Self-Knowledge Distillation with Progressive Refinement of Targets",
ICCV 2021. https://arxiv.org/abs/2006.12000

As `ps_kd`, but the teacher is the network as it was at the end of the last epoch, in evaluation mode
and on the same inputs as the student: one more forward pass, and no memory of N * K numbers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softmax

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.losses import soft_cross_entropy
from learners.self_distillation import blended_targets, share_of_past
from learners.state import TrainState


def ps_kd_forward_losses(logits: Tensor, labels: Tensor, teacher_probs: Tensor, *, share: float) -> Tensor:
    """Cross entropy against (1 - share) * one-hot label + share * the teacher's prediction.

    Args:
        logits: (B, K).
        labels: (B,) given classes in [0, K), possibly wrong.
        teacher_probs: (B, K) probabilities of last epoch's network; zeros where there is none yet.
        share: how much the teacher counts, in [0, 1].

    Returns:
        (B,) losses in nats, at least the entropy of the target.
    """
    return soft_cross_entropy(logits, blended_targets(labels, teacher_probs, share=share))


@dataclass(frozen=True, kw_only=True)
class PSKDForward(Learner):
    """Learn from last epoch's network; the first epoch is plain training."""

    alpha: float = 0.8
    """Share of the teacher in the last epoch, reached linearly, in [0, 1]; 0 is plain training; the paper's."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One pass of the teacher, one of the student, one descent."""
        share = share_of_past(self.alpha, state.epoch, state.total_epochs)
        past = self.teacher_probs(state, batch)
        logits = state.models[0](batch.inputs)
        losses = ps_kd_forward_losses(logits, batch.labels, past, share=share)
        state.descend(losses, batch.weights)
        return StepReport(losses=losses.detach(), logits=logits.detach(), metrics={"share_of_past": share})

    def teacher_probs(self, state: TrainState, batch: Batch) -> Tensor:
        """(B, K) of last epoch's network, which the first step of an epoch takes over; zeros in the first epoch."""
        taken = state.vector("teacher_epoch", size=1)
        teacher = state.copied("teacher").eval()
        if taken[0] != state.epoch and not state.shifted:
            teacher.load_state_dict(state.models[0].state_dict())
            taken[0] = state.epoch
        if state.epoch == 0:
            return batch.inputs.new_zeros(len(batch), state.num_classes)
        with torch.no_grad():
            return softmax(teacher(batch.inputs), dim=1)
