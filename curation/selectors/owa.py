"""Ordered weighted averages (OWA): between the consensus of Borda and the specialists of Chamberlin-Courant.

Boehmer, Celis, Huang, Mehrotra, Vishnoi, "Subset Selection Based On Multiple Rankings in the
Presence of Bias: Effectiveness of Fairness Constraints for Multiwinner Voting Score
Functions", ICML 2023. https://arxiv.org/abs/2306.09835
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from curation.bounds import Bounds
from curation.quotas import Quotas, several
from curation.selector import Selector, check_fraction
from curation.voting import Ballot, elect, greedy, strict_points
from storage.values import Scores, Selection, Signals


@dataclass(frozen=True, kw_only=True)
class OWA(Selector):
    """Keep what voters like, their best chosen example counting most, the second less, and so on.

    Weights 1 alone is Chamberlin-Courant; as many ones as the budget is Borda. The choice is
    greedy: at least 1 - 1/e of the best value, at least 1/2 within quotas that do not overlap. Once no gain is left,
    the rest of the budget goes by Borda total.
    """

    prefer_high: tuple[str, ...] = ()
    """Scores that vote for their high end, by the names that the recipe gave them."""
    prefer_low: tuple[str, ...] = ()
    """Scores that vote for their low end."""
    fraction: float
    """Share of all examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    weights: tuple[float, ...] | None = None
    """Weight of each voter, at least 0, first those of prefer_high, then of prefer_low; None for 1 each."""
    alpha: tuple[float, ...] = (1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5)
    """Weight of a voter's best, second best ... chosen example: non-increasing, at least 0, the first
    above 0; harmonic by default, further ones count 0."""
    quotas: Quotas | tuple[Quotas, ...] | None = None
    """Floors and ceilings per group; several where groups overlap, all of which are met; None for none."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        self.ballot.check()
        several(self.quotas)
        falling = all(0 <= low <= high < np.inf for high, low in pairwise(self.alpha))
        if not self.alpha or not falling or not 0 < self.alpha[0] < np.inf:
            raise ValueError(f"alpha must be non-increasing, at least 0 and the first above 0, got {self.alpha}")

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
        return greedy(strict_points(values), weights, np.array(self.alpha), bounds, budget)
