"""Borda: the examples with the best mean position over several rankings, where wanted within quotas.

Boehmer, Celis, Huang, Mehrotra, Vishnoi, "Subset Selection Based On Multiple Rankings in the
Presence of Bias: Effectiveness of Fairness Constraints for Multiwinner Voting Score
Functions", ICML 2023. https://arxiv.org/abs/2306.09835
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.bounds import Bounds, best_within
from curation.quotas import Quotas, several
from curation.selector import Selector, check_fraction
from curation.voting import Ballot, average_points, best_first, elect
from storage.values import Scores, Selection, Signals


def borda_totals(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted number of examples that each example beats, summed over the voters.

    Args:
        values: (V, N) scores, high preferred; a tie counts one half.
        weights: (V, 1) weights of the voters, at least 0.

    Returns:
        (N,) totals in [0, (N - 1) * sum of weights].
    """
    totals: NDArray[np.float64] = (weights * average_points(values)).sum(axis=0)
    return totals


def best_by_borda(
    values: NDArray[np.float64], weights: NDArray[np.float64], bounds: Bounds, budget: int
) -> NDArray[np.int64]:
    """Places with the largest totals within the bounds: the exact best under this rule."""
    totals = borda_totals(values, weights)
    return best_within(best_first(totals), totals, bounds, budget)


@dataclass(frozen=True, kw_only=True)
class Borda(Selector):
    """Keep the examples that most rankings put high: a consensus.

    Rankings that say nearly the same outvote one that differs: look at their correlation, and
    lower the `weights` of the copies.
    """

    prefer_high: tuple[str, ...] = ()
    """Scores that vote for their high end, by the names that the recipe gave them."""
    prefer_low: tuple[str, ...] = ()
    """Scores that vote for their low end."""
    fraction: float
    """Share of all examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    weights: tuple[float, ...] | None = None
    """Weight of each voter, at least 0, first those of prefer_high, then of prefer_low; None for 1 each."""
    quotas: Quotas | tuple[Quotas, ...] | None = None
    """Floors and ceilings per group; several where groups overlap, all of which are met; None for none."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        self.ballot.check()
        several(self.quotas)

    @property
    def ballot(self) -> Ballot:
        """The scores that vote, with their ends and weights."""
        return Ballot(prefer_high=self.prefer_high, prefer_low=self.prefer_low, weights=self.weights)

    @property
    def reads(self) -> tuple[str, ...]:
        """All voting scores."""
        return self.ballot.names

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget."""
        return elect(self.ballot, self.quotas, self.fraction, signals, scores, best_by_borda)
