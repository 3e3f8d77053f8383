"""DRO weight: how much more than others training that fears the worst case made of an example.

Sow, Lin, Wang, Liang, "Doubly Robust Instance-Reweighted Adversarial Training", ICLR 2024,
https://arxiv.org/abs/2308.00311, where weights grow with the exponential of the loss. The other
learners that weigh examples give the same signals.
"""

from dataclasses import dataclass
from typing import ClassVar

from curation.scorer import Scorer, check_epoch, mean_over_seeds
from curation.single_numbers import single_numbers
from storage.values import HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class DROWeight(Scorer):
    """Rank examples by the mean of their weights over training, averaged over seeds; 1 is as in plain training.

    High for hard examples and for wrong labels alike. Column `last`: the weight of the latest visit.
    """

    reads: ClassVar[tuple[str, ...]] = ("dro_mean_weights", "dro_weights")
    high_means: ClassVar[HighMeans] = "hard"
    per_example: ClassVar[bool] = True

    epoch: int | None = None
    """Epoch up to which the mean is taken, at least 1; None means the last recorded one."""

    def __post_init__(self) -> None:
        check_epoch(self.epoch)

    def __call__(self, signals: Signals) -> Scores:
        """Mean weights of at least 0."""
        mean, last = (single_numbers(signals, name, self.epoch) for name in self.reads)
        return mean_over_seeds(signals.index, mean, high_means=self.high_means, columns={"last": last.mean(axis=0)})
