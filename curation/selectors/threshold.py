"""Threshold: the examples whose score lies between fixed bounds, however many they are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curation.selector import Selector, keep_positions, score_named
from storage.values import Scores, Selection, Signals


@dataclass(frozen=True, kw_only=True)
class Threshold(Selector):
    """Keep the examples with minimum <= score <= maximum; at least one bound must be given."""

    score: str
    """Name that the recipe gave the score."""
    minimum: float | None = None
    """Lowest score kept, itself included; None for no bound."""
    maximum: float | None = None
    """Highest score kept, itself included; None for no bound."""

    def __post_init__(self) -> None:
        if self.minimum is None and self.maximum is None:
            raise ValueError("threshold needs a minimum, a maximum or both, got neither")
        for name, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if bound is not None and not math.isfinite(bound):
                raise ValueError(f"{name} must be finite, got {bound}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum must be at most maximum, {self.maximum}, got {self.minimum}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The one score that this rule bounds."""
        return (self.score,)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep what lies within the bounds.

        Raises:
            ValueError: no example does; the message gives the score's range.
        """
        values = score_named(scores, self.score).values
        reasons = np.full(len(values), self._within(), dtype=object)
        inside = np.ones(len(values), dtype=np.bool_)
        if self.minimum is not None:
            below = values < self.minimum
            reasons[below] = f"{self.score} below {self.minimum:g}"
            inside &= ~below
        if self.maximum is not None:
            above = values > self.maximum
            reasons[above] = f"{self.score} above {self.maximum:g}"
            inside &= ~above
        if len(values) and not inside.any():
            raise ValueError(
                f"no example has {self._within()}; the score runs from {values.min():g} to {values.max():g}"
            )
        return keep_positions(signals.index, np.flatnonzero(inside), reasons)

    def _within(self) -> str:
        if self.maximum is None:
            return f"{self.score} at least {self.minimum:g}"
        if self.minimum is None:
            return f"{self.score} at most {self.maximum:g}"
        return f"{self.score} in [{self.minimum:g}, {self.maximum:g}]"
