"""Generalised cross entropy (GCE): a loss between cross entropy and mean absolute error.

Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
Labels", NeurIPS 2018, equation 6. https://arxiv.org/abs/1805.07836

The gradient is that of cross entropy times p^q, p being the label's probability: labels that the
network finds absurd pull less, and with them most wrong labels.

Differs from the paper: the truncated loss with its pruning of examples is left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.state import TrainState


def gce_losses(logits: Tensor, labels: Tensor, *, q: float) -> Tensor:
    """The loss (1 - p^q) / q, p being the label's probability.

    Args:
        logits: (B, K).
        labels: (B,) given classes in [0, K), possibly wrong.
        q: 0 gives cross entropy, 1 gives 1 - p, half the mean absolute error.

    Returns:
        (B,) losses in [0, 1 / q].
    """
    losses = cross_entropy(logits, labels, reduction="none")
    return -torch.expm1(-q * losses) / q if q > 0 else losses


@dataclass(frozen=True, kw_only=True)
class GCE(Learner):
    """Bound what a single label can cost."""

    q: float = 0.7
    """Robustness, in [0, 1]; 0 is plain training; the paper's value for all its experiments."""

    def __post_init__(self) -> None:
        if not 0 <= self.q <= 1:
            raise ValueError(f"q must be in [0, 1], got {self.q}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One forward pass and one descent."""
        logits = state.models[0](batch.inputs)
        losses = gce_losses(logits, batch.labels, q=self.q)
        state.descend(losses, batch.weights)
        return StepReport(losses=losses.detach(), logits=logits.detach())
