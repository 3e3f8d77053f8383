"""What learners that weigh examples remember of their weights, and how concentrated weights are."""

from torch import Tensor

from learners.batch import Batch
from learners.state import TrainState

REMEMBERED = ("dro_weights", "dro_mean_weights")
"""(N, 1) buffers: each example's weight at its latest visit, and its mean over all visits; 0 before the first."""


VISITS = "dro_visits"
"""(N, 1) buffer: how often each example was visited."""


def remember_weights(state: TrainState, batch: Batch, weights: Tensor) -> None:
    """Write a batch's weights into the buffers.

    Args:
        state: holds the buffers.
        batch: the examples weighed.
        weights: (B,) the learner's own weights, 1 meaning as in plain training.
    """
    found = weights.detach()[:, None].float()
    last, mean, visits = (state.per_example(name, width=1) for name in (*REMEMBERED, VISITS))
    last[batch.positions] = found
    visits[batch.positions] += 1
    mean[batch.positions] += (found - mean[batch.positions]) / visits[batch.positions]


def effective_share(weights: Tensor) -> float:
    """Effective number of examples over their number: (sum w)^2 / (B sum w^2), in [1 / B, 1]; 1 for equal weights."""
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))
