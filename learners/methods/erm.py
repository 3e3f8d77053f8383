"""Empirical risk minimisation (ERM): plain training by cross entropy.

Vapnik, "Principles of Risk Minimization for Learning Theory", NeurIPS 1991.
https://papers.nips.cc/paper_files/paper/1991
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.state import TrainState


def erm_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each example.

    Args:
        logits: (B, K).
        labels: (B,) given classes in [0, K).

    Returns:
        (B,) losses in nats, at least 0; high where the network disagrees with the label.
    """
    return cross_entropy(logits, labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class ERM(Learner):
    """Minimise the mean cross entropy of the given labels: the baseline of every comparison."""

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One forward pass and one descent."""
        logits = state.models[0](batch.inputs)
        losses = erm_losses(logits, batch.labels)
        state.descend(losses, batch.weights)
        return StepReport(losses=losses.detach(), logits=logits.detach())
