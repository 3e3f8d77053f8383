"""Chamberlin-Courant: every ranking gets one example that it likes much, where wanted within quotas.

Boehmer, Celis, Huang, Mehrotra, Vishnoi, "Subset Selection Based On Multiple Rankings in the
Presence of Bias: Effectiveness of Fairness Constraints for Multiwinner Voting Score
Functions", ICML 2023. https://arxiv.org/abs/2306.09835
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.bounds import Bounds
from curation.quotas import Quotas, several
from curation.selector import Selector, check_fraction
from curation.voting import Ballot, elect, greedy, strict_points
from storage.values import Scores, Selection, Signals


def best_representatives(
    values: NDArray[np.float64], weights: NDArray[np.float64], bounds: Bounds, budget: int
) -> NDArray[np.int64]:
    """Places chosen one by one, each adding most to the sum over voters of their best chosen points."""
    return greedy(strict_points(values), weights, np.ones(1), bounds, budget)


@dataclass(frozen=True, kw_only=True)
class ChamberlinCourant(Selector):
    """Keep a union of specialists: a voter is as content as with its one best example.

    The choice is greedy: at least 1 - 1/e of the best value, at least 1/2 within quotas that do not overlap. Once
    every voter has its first, the rest of the budget goes by Borda total, so this rule is for many
    voters, or together with quotas.
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
        return elect(self.ballot, self.quotas, self.fraction, signals, scores, best_representatives)
