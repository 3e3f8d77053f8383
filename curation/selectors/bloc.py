"""Bloc: the examples that most rankings place among their first, where wanted within quotas.

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


def approvals(points: NDArray[np.int32], weights: NDArray[np.float64], num_approved: int) -> NDArray[np.float64]:
    """Weighted number of voters that place an example among their first.

    Args:
        points: (V, N) from `strict_points`.
        weights: (V, 1) weights of the voters, at least 0.
        num_approved: how many places each voter approves of, at least 1.

    Returns:
        (N,) totals in [0, sum of weights].
    """
    totals: NDArray[np.float64] = (weights * (points >= points.shape[1] - num_approved)).sum(axis=0)
    return totals


@dataclass(frozen=True, kw_only=True)
class Bloc(Selector):
    """Keep the examples that most voters approve of; equal ones by Borda total, then id."""

    prefer_high: tuple[str, ...] = ()
    """Scores that vote for their high end, by the names that the recipe gave them."""
    prefer_low: tuple[str, ...] = ()
    """Scores that vote for their low end."""
    fraction: float
    """Share of all examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    weights: tuple[float, ...] | None = None
    """Weight of each voter, at least 0, first those of prefer_high, then of prefer_low; None for 1 each."""
    num_approved: int | None = None
    """How many of its first examples each voter approves of, at least 1; None for the budget."""
    quotas: Quotas | tuple[Quotas, ...] | None = None
    """Floors and ceilings per group; several where groups overlap, all of which are met; None for none."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        self.ballot.check()
        several(self.quotas)
        if self.num_approved is not None and self.num_approved < 1:
            raise ValueError(f"num_approved must be at least 1, got {self.num_approved}")

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
        return elect(self.ballot, self.quotas, self.fraction, signals, scores, self._rule)

    def _rule(
        self, values: NDArray[np.float64], weights: NDArray[np.float64], bounds: Bounds, budget: int
    ) -> NDArray[np.int64]:
        points = strict_points(values)
        totals = approvals(points, weights, self.num_approved or budget)
        return best_within(best_first(totals, (weights * points).sum(axis=0)), totals, bounds, budget)
