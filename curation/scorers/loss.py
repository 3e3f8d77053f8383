"""Loss: the cross-entropy that a model in training still pays for an example's given label.

Networks fit right labels before wrong ones, so early on a large loss marks wrong and hard
examples: Arpit et al., "A Closer Look at Memorization in Deep Networks", ICML 2017,
https://arxiv.org/abs/1706.05394
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.margins import suggestion
from curation.scorer import Scorer, check_epoch, check_finite, given_labels, mean_over_seeds
from curation.softmax import log_softmax, softmax
from storage.values import HighMeans, Scores, Signals


def cross_entropy(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Negative logarithm of the probability given to the label.

    Args:
        logits: (N, K) finite pre-softmax outputs.
        labels: (N,) given classes in [0, K), possibly wrong.

    Returns:
        (N,) losses in nats, at least 0; high where the model contradicts the label.
    """
    losses: NDArray[np.float64] = -np.take_along_axis(log_softmax(logits), labels[:, None], axis=1)[:, 0]
    return losses


@dataclass(frozen=True, kw_only=True)
class Loss(Scorer):
    """Rank examples by their cross-entropy at one epoch, averaged over seeds.

    Columns: `suggested_label`, the class of the largest mean probability, and `confidence`, that probability.
    """

    reads: ClassVar[tuple[str, ...]] = ("logits", "label")
    high_means: ClassVar[HighMeans] = "hard"
    per_example: ClassVar[bool] = True
    revision: ClassVar[int] = 2

    epoch: int | None = None
    """Epoch read, at least 1; None means the last recorded one."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)

    def __call__(self, signals: Signals) -> Scores:
        """Mean over seeds of the loss in nats, at least 0."""
        logits = signals.at_epoch("logits", self.epoch)
        check_finite(signals.index, "logits", logits)
        labels = given_labels(signals, logits.shape[-1])
        losses = [cross_entropy(of_seed, labels) for of_seed in logits]
        columns = suggestion(softmax(logits).mean(axis=0), labels)
        return mean_over_seeds(signals.index, losses, high_means=self.high_means, columns=columns)
