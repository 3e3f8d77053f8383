"""EL2N: how far a model's probabilities are from the given label, early in training.

Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early
in Training", NeurIPS 2021, definition of the EL2N score.
https://arxiv.org/abs/2107.07075
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.scorer import Scorer, check_epoch, check_finite, given_labels, mean_over_seeds
from curation.softmax import softmax
from storage.values import HighMeans, Scores, Signals


def error_l2_norm(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Euclidean distance between the class probabilities and the one-hot label.

    Args:
        logits: (N, K) finite pre-softmax outputs in evaluation mode, without augmentation.
        labels: (N,) given classes in [0, K), possibly wrong.

    Returns:
        (N,) distances in [0, sqrt(2)]; 0 where the label is certain, high where it is contradicted.
    """
    errors = softmax(logits)
    errors[np.arange(len(labels)), labels] -= 1.0
    norms: NDArray[np.float64] = np.sqrt(np.square(errors).sum(axis=1))
    return norms


@dataclass(frozen=True, kw_only=True)
class EL2N(Scorer):
    """Rank examples by the norm of their prediction error at one epoch, averaged over seeds.

    Differs from the paper: the epoch is the recipe's to choose (the paper's headline results
    read epoch 20 of 200), and as many seeds are averaged as were recorded (the paper: 10).
    The highest scores are also where wrong labels gather, so a selector that keeps the hardest
    examples should drop the very top first.
    """

    reads: ClassVar[tuple[str, ...]] = ("logits", "label")
    high_means: ClassVar[HighMeans] = "hard"
    per_example: ClassVar[bool] = True

    epoch: int | None = None
    """Epoch read, at least 1; None means the last recorded one."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)

    def __call__(self, signals: Signals) -> Scores:
        """Mean over seeds of the distance, in [0, sqrt(2)]."""
        logits = signals.at_epoch("logits", self.epoch)
        check_finite(signals.index, "logits", logits)
        labels = given_labels(signals, logits.shape[-1])
        norms = [error_l2_norm(of_seed, labels) for of_seed in logits]
        return mean_over_seeds(signals.index, norms, high_means=self.high_means)
