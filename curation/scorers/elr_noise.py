"""ELR noise: whether the memory of an ELR training contradicts a label, and with which class.

Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents
Memorization of Noisy Labels", NeurIPS 2020. https://arxiv.org/abs/2007.00151 The rule that
an example is suspect when its target's largest class is not its label is from the README of
the authors' code, https://github.com/shengliu66/ELR; the paper does not evaluate it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.margins import rival_classes
from curation.scorer import Scorer, check_epoch, check_finite, given_labels, mean_over_seeds
from storage.values import HighMeans, Scores, Signals


def normalised_targets(targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """ELR's target memory as probabilities.

    Args:
        targets: (..., K) non-negative running averages, each with a sum above 0.

    Returns:
        (..., K) the same, divided by their sum.
    """
    wide = targets.astype(np.float64)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


@dataclass(frozen=True, kw_only=True)
class ELRNoise(Scorer):
    """Rank examples by how much more of ELR's target lies on a rival class than on the label.

    Score: max over k != label of t_k, minus t_label, where t is the normalised target, averaged
    over seeds. Columns: `flagged` (score above 0), `suggested_label` (the rival class where
    flagged, else the given label) and `confidence` (the mass of t on it, in [0, 1]).

    Differs from the source: the README's rule is yes or no and knows one run; the score is ours.
    With one seed the flagged examples are those of the rule; a label that ties with another
    class is never flagged.
    """

    reads: ClassVar[tuple[str, ...]] = ("elr_targets", "label")
    high_means: ClassVar[HighMeans] = "suspect"
    per_example: ClassVar[bool] = True

    epoch: int | None = None
    """Epoch read, at least 1; None means the last recorded one."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)

    def __call__(self, signals: Signals) -> Scores:
        """Margins in [-1, 1]; above 0 where the memory holds more of another class than of the label."""
        targets = signals.at_epoch("elr_targets", self.epoch)
        check_finite(signals.index, "elr_targets", targets)
        if targets.shape[-1] < 2:
            raise ValueError("a margin needs at least 2 classes, got 1")
        labels = given_labels(signals, targets.shape[-1])
        _check_visited(signals, targets)
        memory = normalised_targets(targets)
        average = memory.mean(axis=0)
        rivals = rival_classes(average, labels)
        rows = np.arange(len(labels))
        # With the rival fixed, the mean over seeds of the margins is the margin of the mean target.
        margins = memory[:, rows, rivals] - memory[:, rows, labels]
        flagged = margins.mean(axis=0) > 0
        suggested = np.where(flagged, rivals, labels)
        columns = {
            "flagged": flagged,
            "suggested_label": suggested,
            "confidence": average[rows, suggested],
        }
        return mean_over_seeds(signals.index, margins, high_means=self.high_means, columns=columns)


def _check_visited(signals: Signals, targets: NDArray[np.floating]) -> None:
    unvisited = np.flatnonzero((targets.sum(axis=-1) <= 0).any(axis=0))
    if len(unvisited):
        first = signals.index[int(unvisited[0])]
        raise ValueError(
            f"{len(unvisited)} of {len(signals)} examples have no ELR target: training never visited them "
            f"(first: {first!r})"
        )
