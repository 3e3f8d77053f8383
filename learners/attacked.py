"""What learners that attack remember of the attacked inputs."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.batch import Batch
from learners.losses import label_margins
from learners.state import TrainState

ATTACKED = ("adversarial_margins", "adversarial_loss")
"""(N, 1) buffers of each example's latest attacked visit: the margin of its logits, and their cross entropy in nats."""


def remember_attacked(state: TrainState, batch: Batch, logits: Tensor) -> None:
    """Write what a batch's attacked inputs came to into the buffers; the loss only where it will be recorded.

    Args:
        state: holds the buffers.
        batch: the examples attacked.
        logits: (B, K) of the attacked inputs, before the update.
    """
    margins_name, loss_name = ATTACKED
    logits = logits.detach()
    margins = state.per_example(margins_name, width=1)
    margins[batch.positions] = label_margins(logits, batch.labels)[:, None]
    if loss_name in state.recorded:
        losses = state.per_example(loss_name, width=1)
        losses[batch.positions] = cross_entropy(logits.float(), batch.labels, reduction="none")[:, None]
