"""Margin: how much more probability a model gives the given label than any other class.

The negative of this margin is one of the scores in the authors' code of Paul, Ganguli,
Dziugaite, "Deep Learning on a Data Diet", NeurIPS 2021, https://arxiv.org/abs/2107.07075
(https://github.com/mansheej/data_diet); the paper's results do not use it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.margins import margins, suggestion
from curation.scorer import Scorer, check_epoch, check_finite, given_labels, mean_over_seeds
from curation.softmax import softmax
from storage.values import HighMeans, Scores, Signals


def probability_margins(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Probability of the label minus the largest probability of another class.

    Args:
        logits: (N, K) finite pre-softmax outputs; K at least 2.
        labels: (N,) given classes in [0, K), possibly wrong.

    Returns:
        (N,) margins in [-1, 1]; 1 where the label is certain, negative where another class wins.
    """
    return margins(softmax(logits), labels)


@dataclass(frozen=True, kw_only=True)
class Margin(Scorer):
    """Rank examples by their probability margin at one epoch, averaged over seeds.

    Columns: `suggested_label`, the class of the largest mean probability, and `confidence`, that probability.

    Differs from the source: the sign is turned, so that high means clean, as for AUM.
    """

    reads: ClassVar[tuple[str, ...]] = ("logits", "label")
    high_means: ClassVar[HighMeans] = "clean"
    per_example: ClassVar[bool] = True
    revision: ClassVar[int] = 2

    epoch: int | None = None
    """Epoch read, at least 1; None means the last recorded one."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)

    def __call__(self, signals: Signals) -> Scores:
        """Mean over seeds of the margin, in [-1, 1]."""
        logits = signals.at_epoch("logits", self.epoch)
        if logits.shape[-1] < 2:
            raise ValueError("a margin needs at least 2 classes, got 1")
        check_finite(signals.index, "logits", logits)
        labels = given_labels(signals, logits.shape[-1])
        found = [probability_margins(of_seed, labels) for of_seed in logits]
        columns = suggestion(softmax(logits).mean(axis=0), labels)
        return mean_over_seeds(signals.index, found, high_means=self.high_means, columns=columns)
