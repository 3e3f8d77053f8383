"""Label smoothing: cross entropy against labels that leave every class a little probability.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
Vision", CVPR 2016, section 7. https://arxiv.org/abs/1512.00567
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.state import TrainState


def label_smoothing_losses(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Cross entropy against (1 - smoothing) * one-hot label + smoothing / K.

    Args:
        logits: (B, K).
        labels: (B,) given classes in [0, K), possibly wrong.
        smoothing: probability that is spread evenly over all classes, in [0, 1).

    Returns:
        (B,) losses in nats, at least the entropy of the smoothed label.
    """
    return cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Learner):
    """Train against softened labels, so that no logit is driven to infinity."""

    smoothing: float = 0.1
    """Probability spread evenly over all classes, in [0, 1); 0 is plain training; the paper's value."""

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must be in [0, 1), got {self.smoothing}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One forward pass and one descent."""
        logits = state.models[0](batch.inputs)
        losses = label_smoothing_losses(logits, batch.labels, smoothing=self.smoothing)
        state.descend(losses, batch.weights)
        return StepReport(losses=losses.detach(), logits=logits.detach())
