"""Class balanced: a budget for every given label, filled from one end of a score.

Rules that look at a score alone change the shares of the classes strongly, the more so the
fewer examples they keep; a budget per class is the simplest remedy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curation.allocation import equal_shares, proportional_shares
from curation.ranks import ascending, budget, descending
from curation.scorer import given_labels
from curation.selector import Selector, check_fraction, keep_positions, score_named
from storage.values import Scores, Selection, Signals

End = Literal["high", "low"]
Shares = Literal["equal", "proportional"]


@dataclass(frozen=True, kw_only=True)
class ClassBalanced(Selector):
    """Keep, of every class, the examples whose score is highest (or lowest); ties follow the ids."""

    score: str
    """Name that the recipe gave the score."""
    fraction: float
    """Share of all examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    keep: End = "high"
    """Which end of the score is kept."""
    shares: Shares = "equal"
    """`equal`: as many of every class as the smaller ones allow; `proportional`: the classes keep their shares."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        for name, value, known in (("keep", self.keep, End), ("shares", self.shares, Shares)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The one score that ranks inside each class."""
        return (self.score,)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget."""
        values = score_named(scores, self.score).values
        num_classes = int(np.max(signals["label"], initial=0)) + 1
        labels = given_labels(signals, num_classes)
        allocate = equal_shares if self.shares == "equal" else proportional_shares
        shares = allocate(np.bincount(labels, minlength=num_classes), budget(self.fraction, len(labels)))
        order = (descending if self.keep == "high" else ascending)(values, signals.index.ids)
        by_class = order[np.argsort(labels[order], kind="stable")]
        place = np.arange(len(order)) - np.searchsorted(labels[by_class], labels[by_class])
        kept = by_class[place < shares[labels[by_class]]]
        end = "highest" if self.keep == "high" else "lowest"
        reasons = np.full(len(order), f"{self.score} not among the {end} of its class", dtype=object)
        reasons[kept] = f"{self.score} among the {end} of its class, {self.shares} shares"
        return keep_positions(signals.index, kept, reasons)
