"""Random: a uniformly drawn share of the examples, the baseline that every score has to beat."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curation.ranks import budget, by_id
from curation.selector import Selector, check_fraction, keep_positions
from storage.values import Scores, Selection, Signals


@dataclass(frozen=True, kw_only=True)
class Random(Selector):
    """Keep a share of the examples, drawn without replacement; each is as likely as any other.

    The draw is made in the order of the ids: the same examples in another order of rows give
    the same subset.
    """

    fraction: float
    """Share of the examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget."""
        drawn = rng.permutation(by_id(signals.index.ids))[: budget(self.fraction, len(signals))]
        share = f"{100 * self.fraction:g} %"
        reasons = np.full(len(signals), f"not among the {share} drawn at random", dtype=object)
        reasons[drawn] = f"among the {share} drawn at random"
        return keep_positions(signals.index, drawn, reasons)
