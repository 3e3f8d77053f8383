"""Coverage-centric coreset selection (CCS): every level of difficulty, without the hardest end.

Zheng, Liu, Lai, Prakash, "Coverage-centric Coreset Selection for High Pruning Rates", ICLR
2023, algorithm 1. https://arxiv.org/abs/2210.15809
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.allocation import equal_shares
from curation.ranks import budget as whole_budget
from curation.ranks import by_id, descending
from curation.selector import Selector, check_fraction, keep_positions, score_named
from storage.values import Scores, Selection, Signals


def equal_width_bins(values: NDArray[np.float64], num_bins: int) -> NDArray[np.int64]:
    """Which of several equally wide intervals between the extremes each value lies in.

    Args:
        values: (N,) finite numbers, N at least 1.
        num_bins: how many intervals, at least 1.

    Returns:
        (N,) bins in [0, num_bins); an inner edge belongs to the upper bin, all 0 if all values are equal.
    """
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), dtype=np.int64)
    bins: NDArray[np.int64] = np.floor((values - low) / (high - low) * num_bins).astype(np.int64)
    bins[bins == num_bins] = num_bins - 1
    return bins


@dataclass(frozen=True, kw_only=True)
class CCS(Selector):
    """Drop the hardest share, cut the rest into bins of equal width, draw as evenly as they allow.

    The hard end is the one the score calls hard or suspect. Draws inside a bin are uniform and
    made in the order of the ids.

    Differs from the paper: where both shares are rounded up past N, fewer are dropped first.
    """

    score: str
    """Name that the recipe gave the score."""
    fraction: float
    """Share of all examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    drop_hardest: float = 0.0
    """Share of all examples, in [0, 1 - fraction], dropped first: the paper's beta, found there by a
    grid search for each data set and rate; grows with the share dropped."""
    num_bins: int = 50
    """Bins between the extremes of what is left, at least 1; 50 in the paper."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        # Decimal shares such as 0.9 + 0.1 may exceed 1 by a rounding error.
        if not 0 <= self.drop_hardest <= 1 - self.fraction + 1e-9:
            raise ValueError(
                f"drop_hardest must be in [0, 1 - fraction] = [0, {1 - self.fraction:g}], got {self.drop_hardest}"
            )
        if self.num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {self.num_bins}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The one score that says how hard an example is."""
        return (self.score,)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget.

        Raises:
            ValueError: the score is one of similarity and has no hard end.
        """
        scored = score_named(scores, self.score)
        if scored.high_means == "similar":
            raise ValueError(f"ccs needs a score of difficulty or suspicion; {self.score!r} is one of similarity")
        hardest_first = descending(scored.suspicion, signals.index.ids)
        size = len(hardest_first)
        budget = whole_budget(self.fraction, size)
        dropped = min(whole_budget(self.drop_hardest, size), size - budget)
        reasons = np.full(size, f"not drawn from its bin of {self.score}", dtype=object)
        reasons[hardest_first[:dropped]] = f"{self.score} among the {100 * self.drop_hardest:g} % hardest"
        left = by_id(signals.index.ids)
        left = left[~np.isin(left, hardest_first[:dropped])]
        kept = _drawn_evenly(left, scored.suspicion, self.num_bins, budget, rng)
        reasons[kept] = f"drawn from its bin of {self.score}"
        return keep_positions(signals.index, kept, reasons)


def _drawn_evenly(
    positions: NDArray[np.int64],
    values: NDArray[np.float64],
    num_bins: int,
    budget: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Positions drawn from bins of equal width, with the shares of `equal_shares`; empty bins get none."""
    if not len(positions):
        return positions
    bins = equal_width_bins(values[positions], num_bins)
    shares = equal_shares(np.bincount(bins, minlength=num_bins), budget)
    drawn = [rng.permutation(positions[bins == one])[: shares[one]] for one in np.flatnonzero(shares)]
    return np.concatenate(drawn) if drawn else positions[:0]
