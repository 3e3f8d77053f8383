"""PS-KD doubt: how much of its own past prediction a self-distilling training keeps off an example's label.

Kim, Ji, Yoon, Hwang, "Self-Knowledge Distillation with Progressive Refinement of Targets", ICCV 2021.
https://arxiv.org/abs/2006.12000 There the past prediction softens the example's next target, and hard examples pull
more than easy ones; the paper does not rank examples by it, so the score is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.scorer import Scorer, check_epoch, check_finite, given_labels, mean_over_seeds
from storage.values import HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class PSKDDoubt(Scorer):
    """Rank examples by 1 minus the probability of the label in the remembered prediction, averaged over seeds.

    Columns: `suggested_label` (the class of the largest mean probability, the lowest of equal ones) and `confidence`
    (that probability). Early epochs say most about wrong labels: later ones have learnt them by heart.
    """

    reads: ClassVar[tuple[str, ...]] = ("ps_kd_targets", "label")
    high_means: ClassVar[HighMeans] = "hard"
    per_example: ClassVar[bool] = True

    epoch: int | None = None
    """Epoch read, at least 1; None means the last recorded one."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)

    def __call__(self, signals: Signals) -> Scores:
        """Doubts in [0, 1].

        Raises:
            ValueError: an example that training had not visited by then.
        """
        past = signals.at_epoch("ps_kd_targets", self.epoch).astype(np.float64)
        check_finite(signals.index, "ps_kd_targets", past)
        labels = given_labels(signals, past.shape[-1])
        unvisited = np.flatnonzero((past.sum(axis=-1) <= 0).any(axis=0))
        if len(unvisited):
            raise ValueError(
                f"{len(unvisited)} of {len(signals)} examples have no past prediction: training never visited them "
                f"(first: {signals.index[int(unvisited[0])]!r})"
            )
        doubts = 1 - past[:, np.arange(len(labels)), labels]
        average = past.mean(axis=0)
        columns = {"suggested_label": average.argmax(axis=1), "confidence": average.max(axis=1)}
        return mean_over_seeds(signals.index, doubts, high_means=self.high_means, columns=columns)
