"""Adversarial margin: how far training under attack kept an example from another class.

The margin of the attacked prediction as a measure of an example's distance from the decision boundary is that
of Wang et al. (MAIL), "Probabilistic Margins for Instance Reweighting in Adversarial Training", NeurIPS 2021,
https://arxiv.org/abs/2106.07904

Differs from the paper: the margin is one of logits, not of probabilities, which saturate.
"""

from dataclasses import dataclass
from typing import ClassVar

from curation.scorer import Scorer, check_epoch, mean_over_seeds
from curation.single_numbers import single_numbers
from storage.values import HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class AdversarialMargin(Scorer):
    """Rank examples by the label's logit minus the largest other one under attack, averaged over seeds.

    Read at each example's latest visit; low for examples that an attack fools, and for wrong labels.
    """

    reads: ClassVar[tuple[str, ...]] = ("adversarial_margins",)
    high_means: ClassVar[HighMeans] = "clean"
    per_example: ClassVar[bool] = True

    epoch: int | None = None
    """Epoch read, at least 1; None means the last recorded one."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)

    def __call__(self, signals: Signals) -> Scores:
        """Margins in logit units; below 0 where the attack succeeds."""
        margins = single_numbers(signals, "adversarial_margins", self.epoch)
        return mean_over_seeds(signals.index, margins, high_means=self.high_means)
