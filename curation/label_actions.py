"""Label actions: what becomes of the examples that a noise score flags, before a selector chooses.

A score flags by its column `flagged`, or where it has none, by a suggested label that is not the given one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.decisions import Decisions
from curation.selector import score_named
from storage.values import Array, Scores, Signals

Action = Literal["drop", "down_weight", "relabel"]
Unsure = Literal["drop", "keep"]


@dataclass(frozen=True, kw_only=True)
class LabelAction:
    """One action for all examples that one score flags."""

    score: str
    """Name that the recipe gave the score: one that flags examples, such as those of confident_learning or
    elr_noise."""
    action: Action
    """`drop`: they get weight 0. `down_weight`: their weight is multiplied. `relabel`: they get the label that the
    score suggests."""
    weight: float | None = None
    """For `down_weight` alone, and needed there: what the weight is multiplied by, in (0, 1)."""
    confidence: float | None = None
    """For `relabel` alone, and needed there: the least confidence in the suggested label, in [0, 1]."""
    unsure: Unsure | None = None
    """For `relabel` alone: what becomes of those flagged with less confidence: `drop`, the default, or `keep` with
    the given label."""

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ValueError(f"action must be one of {', '.join(get_args(Action))}, got {self.action!r}")
        if self.unsure is not None and self.unsure not in get_args(Unsure):
            raise ValueError(f"unsure must be one of {', '.join(get_args(Unsure))}, got {self.unsure!r}")
        for name, action in (("weight", "down_weight"), ("confidence", "relabel"), ("unsure", "relabel")):
            if getattr(self, name) is not None and self.action != action:
                raise ValueError(f"{name} has no effect with action = {self.action!r}; leave it out")
        if self.action == "down_weight" and not (self.weight is not None and 0 < self.weight < 1):
            raise ValueError(f"weight must be in (0, 1) with action = 'down_weight', got {self.weight}")
        if self.action == "relabel" and not (self.confidence is not None and 0 <= self.confidence <= 1):
            raise ValueError(f"confidence must be in [0, 1] with action = 'relabel', got {self.confidence}")

    def decide(self, signals: Signals, scores: Mapping[str, Scores]) -> Decisions:
        """What is done to each example.

        Args:
            signals: N examples, with `label` for `relabel` and for scores that flag by their suggestion.
            scores: by name, the action's own among them.

        Raises:
            ValueError: the score is missing, flags nothing, or suggests no label to relabel to.
        """
        scored = score_named(scores, self.score)
        flagged = self._flagged(scored, signals)
        nothing = np.zeros(len(signals), dtype=np.bool_)
        factors = np.ones(len(signals), dtype=np.float32)
        reasons = np.full(len(signals), "", dtype=object)
        if self.weight is not None:
            factors[flagged] = self.weight
            reasons[flagged] = f"flagged by {self.score}, weight times {self.weight:g}"
            return Decisions(dropped=nothing, reasons=reasons, factors=factors)
        if self.confidence is None:
            reasons[flagged] = f"flagged by {self.score}"
            return Decisions(dropped=flagged, reasons=reasons, factors=factors)
        labels = self._suggested(scored, signals)
        sure = self._column(scored, "confidence").astype(np.float64) >= self.confidence
        reasons[flagged & sure] = f"flagged by {self.score}, relabelled at confidence {self.confidence:g} or more"
        unsure = flagged & ~sure
        keeps = self.unsure == "keep"
        kept = ", label kept" if keeps else ""
        reasons[unsure] = f"flagged by {self.score} at confidence below {self.confidence:g}{kept}"
        corrected = np.where(flagged & sure, labels, signals["label"])
        return Decisions(dropped=nothing if keeps else unsure, reasons=reasons, factors=factors, labels=corrected)

    def _flagged(self, scored: Scores, signals: Signals) -> NDArray[np.bool_]:
        if "flagged" in scored.columns:
            return np.asarray(scored.columns["flagged"], dtype=np.bool_)
        if "suggested_label" in scored.columns:
            differs: NDArray[np.bool_] = self._suggested(scored, signals) != signals["label"]
            return differs
        raise ValueError(
            f"the score {self.score!r} flags no examples; take one that does, such as confident_learning or "
            "elr_noise, or choose by its values with where"
        )

    def _suggested(self, scored: Scores, signals: Signals) -> NDArray[np.int64]:
        suggested: NDArray[np.int64] = self._column(scored, "suggested_label").astype(np.int64)
        return np.where(suggested < 0, signals["label"], suggested)

    def _column(self, scored: Scores, name: str) -> Array:
        if name not in scored.columns:
            have = ", ".join(scored.columns) or "none"
            raise ValueError(f"relabelling needs the column {name!r} of the score {self.score!r}, which has {have}")
        return np.asarray(scored.columns[name])
