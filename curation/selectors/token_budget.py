"""Token budget: the highest scores, as many as make up a number of tokens rather than of examples.

Where a calibration sample is asked for, the lowest score kept is found on it and then holds for all, as in
Mizrahi et al., "Language Models Improve When Pretraining Data Matches Target Tasks", 2025, which takes the threshold
from 100,000 documents. https://arxiv.org/abs/2507.12466
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.ranks import by_id, descending
from curation.selector import Selector, check_fraction, keep_positions, score_named
from storage.values import Scores, Selection, Signals


def within_budget(num_tokens: NDArray[np.int64], order: NDArray[np.int64], token_fraction: float) -> int:
    """How many of the first documents of an order have, together, at most a share of all tokens.

    Args:
        num_tokens: (N,) tokens of each document, at least 0.
        order: (M,) positions; the share is of their tokens.
        token_fraction: in (0, 1].
    """
    sums = np.cumsum(num_tokens[order])
    total = int(sums[-1]) if len(sums) else 0
    # Decimal shares such as 0.1 * 30 may fall below a whole number by a rounding error.
    return int(np.searchsorted(sums, token_fraction * total * (1 + 1e-12), "right"))


@dataclass(frozen=True, kw_only=True)
class TokenBudget(Selector):
    """Keep the highest scores as long as their tokens are at most a share of all; equal scores follow their ids.

    Reads the score and signal `num_tokens` (N,). With a calibration sample every example is kept whose score is at
    least that of the last kept one of the sample, so the share is met as nearly as the sample is like all.
    """

    score: str
    """Name that the recipe gave the score."""
    token_fraction: float
    """Share of all tokens to keep, in (0, 1]; 0.1 in the paper."""
    calibration: int | None = None
    """Examples on which the lowest score kept is found, at least 1; None counts all and cuts between equal scores."""

    def __post_init__(self) -> None:
        check_fraction("token_fraction", self.token_fraction)
        if self.calibration is not None and self.calibration < 1:
            raise ValueError(f"calibration must be at least 1, got {self.calibration}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The one score that this rule ranks."""
        return (self.score,)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep the longest beginning of the ranking that the budget allows, or all above the threshold."""
        num_tokens, values = _num_tokens(signals), score_named(scores, self.score).values
        order = descending(values, signals.index.ids)
        if self.calibration is None:
            kept = order[: within_budget(num_tokens, order, self.token_fraction)]
        else:
            drawn = np.zeros(len(order), dtype=np.bool_)
            drawn[rng.permutation(by_id(signals.index.ids))[: self.calibration]] = True
            sample = order[drawn[order]]
            first = sample[: within_budget(num_tokens, sample, self.token_fraction)]
            kept = np.flatnonzero(values >= values[first].min()) if len(first) else first
        share = f"{100 * self.token_fraction:g} % of tokens"
        reasons = np.full(len(order), f"{self.score} not among the highest {share}", dtype=object)
        reasons[kept] = f"{self.score} among the highest {share}"
        return keep_positions(signals.index, kept, reasons)


def _num_tokens(signals: Signals) -> NDArray[np.int64]:
    num_tokens = np.asarray(signals["num_tokens"])
    if num_tokens.shape != (len(signals),) or not np.issubdtype(num_tokens.dtype, np.integer):
        raise ValueError(f"signal 'num_tokens' must be (N,) of integers, got {num_tokens.shape} of {num_tokens.dtype}")
    if len(num_tokens) and num_tokens.min() < 0:
        raise ValueError(f"signal 'num_tokens' must be at least 0, got {num_tokens.min()}")
    return num_tokens.astype(np.int64)
