"""Decisions: what is settled of single examples before a selector chooses among the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curation.scorer import scores_at
from curation.selector import Selector
from storage.values import Scores, Selection, Signals


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions:
    """What a condition or a label action says of each of N examples."""

    dropped: NDArray[np.bool_]
    """(N,) whether it is dropped, so that the selector never sees it."""
    reasons: NDArray[np.object_]
    """(N,) why it is dropped, or weighed or labelled otherwise; empty where nothing is decided."""
    factors: NDArray[np.float32]
    """(N,) what its weight is multiplied by, in (0, 1]."""
    labels: NDArray[np.int64] | None = None
    """(N,) labels, some of them corrected; None for those given."""


def of_condition(fulfilled: NDArray[np.bool_], text: str) -> Decisions:
    """Drop what does not fulfil a condition.

    Args:
        fulfilled: (N,) whether each example does.
        text: the condition, for the reason.
    """
    reasons = np.full(len(fulfilled), "", dtype=object)
    reasons[~fulfilled] = f"does not fulfil {' '.join(text.split())}"
    return Decisions(dropped=~fulfilled, reasons=reasons, factors=np.ones(len(fulfilled), dtype=np.float32))


def select_among(
    selector: Selector,
    signals: Signals,
    scores: Mapping[str, Scores],
    rng: np.random.Generator,
    decided: Sequence[Decisions],
) -> Selection:
    """What a selector chooses among the examples that are not dropped already.

    The selector sees the corrected labels, and its fraction is of the examples that are left. A
    label of an example that ends with weight 0 stays as it was given.

    Args:
        selector: the rule.
        signals: of all N examples.
        scores: of all N examples, by name.
        rng: passed on.
        decided: what comes before the rule; the first that drops an example gives the reason.

    Returns:
        The selection over all N examples. A kept example's reason is the rule's, behind what was decided of it.

    Raises:
        ValueError: every example is dropped.
    """
    if not decided:
        return selector(signals, scores, rng)
    decisions = _together(decided)
    left = np.flatnonzero(~decisions.dropped)
    if not len(left):
        reason = decisions.reasons[0] if len(signals) else "there are none"
        raise ValueError(f"none of {len(signals)} examples is left to choose from (such as: {reason})")
    seen = signals if decisions.labels is None else _relabelled(signals, decisions.labels)
    among = {name: scores_at(one, left) for name, one in scores.items()}
    chosen = selector(seen.take(left), among, rng)
    if chosen.labels is not None:
        raise TypeError(f"{type(selector).__name__} corrects labels by itself; label actions are for other rules")
    weights = np.zeros(len(signals), dtype=np.float32)
    weights[left] = chosen.weights * decisions.factors[left]
    reasons = decisions.reasons.copy()
    before = np.where(chosen.kept, decisions.reasons[left], "")
    reasons[left] = [f"{own}; {rule}" if own else rule for own, rule in zip(before, chosen.reasons, strict=True)]
    labels = None
    if decisions.labels is not None:
        labels = np.where(weights > 0, decisions.labels, signals["label"])
    return replace(chosen, index=signals.index, weights=weights, reasons=reasons, labels=labels)


def _together(decided: Sequence[Decisions]) -> Decisions:
    """Several decisions as one: an example that one has dropped is not decided on by those behind it."""
    first = decided[0]
    for second in decided[1:]:
        both = [
            f"{one}; {two}" if one and two else one or two
            for one, two in zip(first.reasons, second.reasons, strict=True)
        ]
        first = Decisions(
            dropped=first.dropped | second.dropped,
            reasons=np.where(first.dropped, first.reasons, np.array(both, dtype=object)),
            factors=first.factors * second.factors,
            labels=first.labels if second.labels is None else second.labels,
        )
    return first


def _relabelled(signals: Signals, labels: NDArray[np.int64]) -> Signals:
    return replace(signals, arrays={**signals.arrays, "label": labels})
