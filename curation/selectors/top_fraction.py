"""Top fraction: the examples at one end of a score, where wanted without the very end.

Keeping the hardest examples is the selection of Paul, Ganguli, Dziugaite, "Deep Learning on a
Data Diet", NeurIPS 2021, https://arxiv.org/abs/2107.07075; its window, which leaves out the
highest scores first, is there because wrong labels gather among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from curation.ranks import ascending, budget, descending
from curation.selector import Selector, check_fraction, keep_positions, score_named
from storage.values import Scores, Selection, Signals

End = Literal["high", "low"]


@dataclass(frozen=True, kw_only=True)
class TopFraction(Selector):
    """Keep the share of the examples whose score is highest (or lowest); ties follow the ids."""

    score: str
    """Name that the recipe gave the score."""
    fraction: float
    """Share of all examples to keep, in (0, 1]; the budget is fraction * N rounded, halves up."""
    keep: End = "high"
    """Which end of the score is kept."""
    drop_first: float = 0.0
    """Share of all examples, in [0, 1 - fraction], dropped from that end before the kept ones begin."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        if self.keep not in get_args(End):
            raise ValueError(f"keep must be one of {', '.join(get_args(End))}, got {self.keep!r}")
        # Decimal shares such as 0.9 + 0.1 may exceed 1 by a rounding error.
        if not 0 <= self.drop_first <= 1 - self.fraction + 1e-9:
            raise ValueError(
                f"drop_first must be in [0, 1 - fraction] = [0, {1 - self.fraction:g}], got {self.drop_first}"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """The one score that this rule ranks."""
        return (self.score,)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep exactly the budget; where both shares are rounded up past N, fewer are dropped first."""
        values = score_named(scores, self.score).values
        rank = descending if self.keep == "high" else ascending
        order = rank(values, signals.index.ids)
        kept = budget(self.fraction, len(order))
        first = min(budget(self.drop_first, len(order)), len(order) - kept)
        reasons = np.empty(len(order), dtype=object)
        inside, before, after = self._reasons()
        reasons[order[:first]] = before
        reasons[order[first : first + kept]] = inside
        reasons[order[first + kept :]] = after
        return keep_positions(signals.index, order[first : first + kept], reasons)

    def _reasons(self) -> tuple[str, str, str]:
        end = "highest" if self.keep == "high" else "lowest"
        share = f"{100 * self.fraction:g} % {end}"
        if self.drop_first == 0:
            return f"{self.score} among the {share}", "", f"{self.score} not among the {share}"
        dropped = f"{100 * self.drop_first:g} % {end}"
        return (
            f"{self.score} among the {share} after the {dropped}",
            f"{self.score} among the {dropped}, dropped first",
            f"{self.score} not among the {share} after the {dropped}",
        )
