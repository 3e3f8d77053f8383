"""Area under the margin (AUM): how firmly training agreed with a label.

Pleiss, Zhang, Elenberg, Weinberger, "Identifying Mislabeled Data using the Area
Under the Margin Ranking", NeurIPS 2020. https://arxiv.org/abs/2001.10528
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.margins import suggestion
from curation.scorer import Scorer, check_finite, given_labels, mean_over_seeds
from curation.softmax import softmax
from storage.values import HighMeans, Scores, Signals


def area_under_margin(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean over epochs of the label's logit minus the largest other logit.

    Args:
        logits: (N, T, K) pre-softmax outputs, one per example, epoch and class; K at least 2.
        labels: (N,) given classes in [0, K), possibly wrong.

    Returns:
        (N,) margins in logit units; negative when another class usually won.
    """
    given = np.take_along_axis(logits, labels[:, None, None], axis=2)[..., 0].astype(np.float64)
    others = np.where(np.arange(logits.shape[2]) == labels[:, None, None], -np.inf, logits)
    margins: NDArray[np.float64] = (given - others.max(axis=2)).mean(axis=1)
    return margins


@dataclass(frozen=True, kw_only=True)
class AUM(Scorer):
    """Rank examples by area under the margin, averaged over seeds.

    Columns: `suggested_label`, the class of the largest mean probability over the epochs read and the seeds, and
    `confidence`, that probability.

    Differs from the paper: no extra class of threshold samples is trained, so this is the
    ranking alone; a selector decides where to cut it.
    """

    reads: ClassVar[tuple[str, ...]] = ("train_logits", "label")
    high_means: ClassVar[HighMeans] = "clean"
    per_example: ClassVar[bool] = True
    revision: ClassVar[int] = 2

    burn_in: int = 0
    """Epochs ignored at the start of training, at least 0."""

    def __post_init__(self) -> None:
        if self.burn_in < 0:
            raise ValueError(f"burn_in must be at least 0, got {self.burn_in}")

    def __call__(self, signals: Signals) -> Scores:
        """Mean over seeds of the margin in logit units."""
        logits = signals["train_logits"]
        if logits.shape[-1] < 2:
            raise ValueError("a margin needs at least 2 classes, got 1")
        recorded = np.array(signals.epochs["train_logits"])
        last = recorded.max(initial=0)
        if self.burn_in >= last:
            raise ValueError(f"burn_in must be below the last recorded epoch, {last}, got {self.burn_in}")
        logits = logits[:, :, recorded > self.burn_in]
        check_finite(signals.index, "train_logits", logits)
        labels = given_labels(signals, logits.shape[-1])
        margins = [area_under_margin(of_seed, labels) for of_seed in logits]
        columns = suggestion(_mean_probs(logits), labels)
        return mean_over_seeds(signals.index, margins, high_means=self.high_means, columns=columns)


def _mean_probs(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, K) probabilities from (R, N, T, K) logits, one epoch at a time."""
    seeds, _, epochs, _ = logits.shape
    probs = np.zeros((logits.shape[1], logits.shape[3]))
    for seed in range(seeds):
        for epoch in range(epochs):
            probs += softmax(logits[seed, :, epoch])
    probs /= seeds * epochs
    return probs
