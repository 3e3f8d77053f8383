"""Single non-transferable vote (SNTV): the examples that some ranking puts first of all.

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
from curation.voting import Ballot, best_first, elect, strict_points
from storage.values import Scores, Selection, Signals


def first_places(points: NDArray[np.int32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted number of voters that put an example first.

    Args:
        points: (V, N) from `strict_points`.
        weights: (V, 1) weights of the voters, at least 0.

    Returns:
        (N,) totals in [0, sum of weights]; above 0 for at most V examples.
    """
    totals: NDArray[np.float64] = (weights * (points == points.shape[1] - 1)).sum(axis=0)
    return totals


def best_by_first_places(
    values: NDArray[np.float64], weights: NDArray[np.float64], bounds: Bounds, budget: int
) -> NDArray[np.int64]:
    """Places with most firsts within the bounds; equal ones by Borda total, then id."""
    points = strict_points(values)
    totals = first_places(points, weights)
    return best_within(best_first(totals, (weights * points).sum(axis=0)), totals, bounds, budget)


@dataclass(frozen=True, kw_only=True)
class SNTV(Selector):
    """Keep the examples that most voters put first; equal ones by Borda total, then id.

    With V voters at most V examples have a vote: a larger budget is filled by Borda, so this rule
    is for many voters, such as one for each cluster or seed.
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
        return elect(self.ballot, self.quotas, self.fraction, signals, scores, best_by_first_places)
