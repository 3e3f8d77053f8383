"""Label filters: the rules of confident learning that turn an estimated joint into flagged examples.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
70, 2021, section 3.2. https://arxiv.org/abs/1911.00068 Names and numbers are those of the
authors' package cleanlab 2.9, https://github.com/cleanlab/cleanlab

Every rule takes `Evidence` and returns a (N,) mask of suspects; ties at a cut follow the ids.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from curation.allocation import rounded_to_sum
from curation.confident_joint import (
    TOLERANCE,
    calibrated_counts,
    confident_classes,
    confident_counts,
    row_blocks,
    self_confidence,
    thresholds_of,
)

LabelFilter = Literal[
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
]

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Out-of-fold probabilities beside given labels, and what several rules need of them."""

    probs: NDArray[np.floating]
    """(N, K) probabilities, K at least 2."""
    labels: NDArray[np.int64]
    """(N,) given classes in [0, K)."""
    id_ranks: NDArray[np.int64]
    """(N,) place of each example's id: what breaks ties."""

    @cached_property
    def own(self) -> NDArray[np.float64]:
        """(N,) probability of the given label."""
        return self_confidence(self.probs, self.labels)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) most probable class; the given label where it comes within `TOLERANCE` of it."""
        found = self.labels.astype(np.int64)
        for rows in row_blocks(*self.probs.shape):
            block, limits = self.probs[rows], self.own[rows] + TOLERANCE
            place = np.flatnonzero(block >= limits[:, None])
            beaten = place // block.shape[1]
            beaten = beaten[np.flatnonzero(np.diff(beaten, prepend=-1))]
            found[rows][beaten] = block.take(beaten, axis=0).argmax(axis=1)
        return found

    @cached_property
    def rivals(self) -> NDArray[np.int64]:
        """(N,) most probable class other than the given label."""
        found = np.empty(len(self.labels), dtype=np.int64)
        for rows in row_blocks(*self.probs.shape):
            block = self.probs[rows].astype(np.float64)
            block[np.arange(len(block)), self.labels[rows]] = -1.0
            found[rows] = block.argmax(axis=1)
        return found

    @cached_property
    def confident(self) -> NDArray[np.int64]:
        """(N,) class that each example confidently belongs to, or -1."""
        return confident_classes(self.probs, thresholds_of(self.own, self.labels, self.probs.shape[1]))

    @cached_property
    def prune_counts(self) -> NDArray[np.int64]:
        """(K, K) how many examples of label i to prune as of class j; the diagonal says how many to keep."""
        num_classes = self.probs.shape[1]
        counts = confident_counts(self.labels, self.confident, num_classes)
        return at_least_one_kept(calibrated_counts(counts, np.bincount(self.labels, minlength=num_classes)))


def label_issues(evidence: Evidence, rule: LabelFilter) -> Mask:
    """Which examples a rule suspects.

    Returns:
        (N,) mask. But for the two `low_` rules, an example whose label is the most probable class
        is never suspected.
    """
    return _RULES[rule](evidence)


def normalized_margin(evidence: Evidence) -> NDArray[np.float64]:
    """(N,) quality in [0, 1]: (probability of the label - largest other + 1) / 2."""
    return (evidence.own - self_confidence(evidence.probs, evidence.rivals) + 1) / 2


def at_least_one_kept(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts whose diagonal is at least 1, what that takes being spread over the row's other counts.

    Args:
        counts: (K, K) calibrated counts, labels by classes.

    Returns:
        (K, K) whole numbers; column sums are kept up to rounding, as in cleanlab.
    """
    diagonal = np.maximum(counts.diagonal(), 1)
    raised = diagonal - counts.diagonal()
    if not raised.any():
        return counts
    others = np.maximum(np.count_nonzero(counts, axis=1) - 1, 1)
    spread = np.maximum(counts - (raised / others)[:, None], 0.0)
    np.fill_diagonal(spread, diagonal)
    return np.stack([rounded_to_sum(column) for column in spread.T], axis=1)


def _prune_by_class(evidence: Evidence) -> Mask:
    suspects = np.zeros(len(evidence.labels), dtype=np.bool_)
    for label, rows in enumerate(_rows_by_label(evidence)):
        count = len(rows) - int(evidence.prune_counts[label, label])
        if len(rows) > 1 and count > 0:
            suspects[rows[lowest(evidence.own[rows], evidence.id_ranks[rows], count)]] = True
    return suspects & _contradicted(evidence)


def _prune_by_noise_rate(evidence: Evidence) -> Mask:
    suspects = np.zeros(len(evidence.labels), dtype=np.bool_)
    # Of an array that is not contiguous, taking some rows would copy all of them, each time.
    probs = np.ascontiguousarray(evidence.probs)
    for label, rows in enumerate(_rows_by_label(evidence)):
        counts = evidence.prune_counts[label]
        others = np.flatnonzero(counts)
        others = others[others != label]
        if len(rows) <= 1 or not len(others):
            continue
        own, id_ranks = evidence.own[rows], evidence.id_ranks[rows]
        taken = probs.take(rows, axis=0)
        for other in others:
            suspects[rows[lowest(own - taken[:, other], id_ranks, int(counts[other]))]] = True
    return suspects & _contradicted(evidence)


def _both(evidence: Evidence) -> Mask:
    suspects: Mask = _prune_by_class(evidence) & _prune_by_noise_rate(evidence)
    return suspects


def _confident_learning(evidence: Evidence) -> Mask:
    off_diagonal = (evidence.confident >= 0) & (evidence.confident != evidence.labels)
    suspects: Mask = off_diagonal & _contradicted(evidence)
    return suspects


def _predicted_neq_given(evidence: Evidence) -> Mask:
    return _contradicted(evidence)


def _low_normalized_margin(evidence: Evidence) -> Mask:
    return _as_many_as_confident(evidence, normalized_margin(evidence))


def _low_self_confidence(evidence: Evidence) -> Mask:
    return _as_many_as_confident(evidence, evidence.own)


_RULES: dict[LabelFilter, Callable[[Evidence], Mask]] = {
    "prune_by_noise_rate": _prune_by_noise_rate,
    "prune_by_class": _prune_by_class,
    "both": _both,
    "confident_learning": _confident_learning,
    "predicted_neq_given": _predicted_neq_given,
    "low_normalized_margin": _low_normalized_margin,
    "low_self_confidence": _low_self_confidence,
}
LABEL_FILTERS = cast("tuple[LabelFilter, ...]", get_args(LabelFilter))
"""Names of all rules."""


def lowest(values: NDArray[np.floating], id_ranks: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Positions of the lowest values, ties going to the smaller ids.

    Args:
        values: (N,) finite numbers.
        id_ranks: (N,) distinct places of the ids.
        count: how many, at least 1; all N where it is larger.

    Returns:
        (min(count, N),) positions, in no particular order.
    """
    if count >= len(values):
        return np.arange(len(values))
    cut = np.partition(values, count - 1)[count - 1]
    below = np.flatnonzero(values < cut)
    tied = np.flatnonzero(values == cut)
    tied = tied[np.argsort(id_ranks[tied])]
    return np.concatenate([below, tied[: count - len(below)]])


def _as_many_as_confident(evidence: Evidence, quality: NDArray[np.float64]) -> Mask:
    """The lowest qualities, as many as the off-diagonal of the confident joint suspects."""
    suspects = np.zeros(len(quality), dtype=np.bool_)
    count = int(_confident_learning(evidence).sum())
    if count:
        suspects[lowest(quality, evidence.id_ranks, count)] = True
    return suspects


def _contradicted(evidence: Evidence) -> Mask:
    contradicted: Mask = evidence.predicted != evidence.labels
    return contradicted


def _rows_by_label(evidence: Evidence) -> list[NDArray[np.int64]]:
    num_classes = evidence.probs.shape[1]
    counts = np.bincount(evidence.labels, minlength=num_classes)
    # Whole numbers of 16 bits are sorted in a time that grows with their number alone.
    labels = evidence.labels.astype(np.min_scalar_type(num_classes))
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
