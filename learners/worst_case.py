"""Worst-case metrics: the lowest classes and groups, and the largest losses.

The mean over the most vulnerable classes follows Sow, Lin, Wang, Liang, "Doubly Robust
Instance-Reweighted Adversarial Training", ICLR 2024. https://arxiv.org/abs/2308.00311
A minimum or a mean of selected minima is biased downwards: show beside it the same classes chosen
by another model (`tail_classes` of one, `tail_accuracy` of the other).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from learners.evaluate import accuracy, per_class_accuracy


@dataclass(frozen=True, kw_only=True)
class GroupAccuracy:
    """Accuracy on each group that has examples, and the worst of them."""

    groups: NDArray[np.int64]
    """(G,) groups with at least one example, ascending."""
    accuracies: NDArray[np.float64]
    """(G,) shares of right predictions in [0, 1]."""
    counts: NDArray[np.int64]
    """(G,) examples."""

    @property
    def worst(self) -> float:
        """The lowest accuracy."""
        return float(self.accuracies.min())

    @property
    def balanced(self) -> float:
        """The mean accuracy, every group counting the same."""
        return float(self.accuracies.mean())


def group_accuracy(correct: NDArray[np.bool_], groups: NDArray[np.integer]) -> GroupAccuracy:
    """Accuracy by group; with labels as groups, by class.

    Args:
        correct: (N,) whether the prediction is right, N at least 1.
        groups: (N,) group of each example.
    """
    found, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    right = np.bincount(place, weights=correct.astype(np.float64))
    return GroupAccuracy(groups=found.astype(np.int64), accuracies=right / counts, counts=counts.astype(np.int64))


def tail_classes(per_class: NDArray[np.floating], *, fraction: float = 0.3) -> NDArray[np.intp]:
    """The ceil(fraction * K) classes of lowest accuracy, ascending by class; ties go to the lower class.

    Args:
        per_class: (K,) accuracies; a class without examples is NaN and is left out of K.
        fraction: in (0, 1].

    Raises:
        ValueError: fraction out of range, or no class with examples.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    present = np.flatnonzero(~np.isnan(per_class))
    if not len(present):
        raise ValueError("per_class has no class with examples")
    count = math.ceil(fraction * len(present) - 1e-9)
    return np.sort(present[np.argsort(per_class[present], kind="stable")[:count]])


def tail_accuracy(per_class: NDArray[np.floating], classes: NDArray[np.intp] | None = None) -> float:
    """Mean accuracy over the lowest 30 % of classes (RA-Tail-30, on adversarial predictions).

    Args:
        per_class: (K,) accuracies; NaN for a class without examples.
        classes: average over these instead: the tail of a baseline or of another split.
    """
    return float(per_class[tail_classes(per_class) if classes is None else classes].mean())


def conditional_value_at_risk(losses: NDArray[np.floating], *, fraction: float = 0.1) -> float:
    """Mean of the largest losses (CVaR), between their mean and their maximum.

    Args:
        losses: (N,) at least 1, in nats.
        fraction: share of examples averaged over, in (0, 1]; a part of an example counts as that part.

    Raises:
        ValueError: fraction out of range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    descending = np.sort(np.asarray(losses, dtype=np.float64))[::-1]
    mass = fraction * len(descending)
    taken = np.clip(mass - np.arange(len(descending)), 0.0, 1.0)
    return float((taken * descending).sum() / mass)


@dataclass(frozen=True, kw_only=True)
class TailMetrics:
    """How a model does where it does worst; of adversarial logits, its robustness there."""

    accuracy: float
    """Share of right predictions in [0, 1]."""
    worst_class: float
    """The lowest accuracy of a class."""
    tail: float
    """Mean accuracy over the lowest 30 % of classes: RA-Tail-30 under attack."""
    tail_classes: tuple[int, ...]
    """Those classes, ascending."""
    fixed_tail: float | None
    """Mean accuracy over classes that a baseline chose; None where none were given."""
    loss_at_risk: float
    """Mean cross entropy in nats of the worst 10 % of examples (CVaR)."""


def tail_metrics(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, fixed: NDArray[np.intp] | None = None
) -> TailMetrics:
    """The worst-case metrics of one model's logits.

    Args:
        logits: (N, K), clean or under attack, N at least 1.
        labels: (N,) classes in [0, K).
        fixed: tail classes of a baseline, such as PGD training: what does not fall just by being selected.
    """
    per_class = per_class_accuracy(logits, labels)
    wide = logits.astype(np.float64)
    losses = logsumexp(wide, axis=1) - wide[np.arange(len(labels)), labels]
    return TailMetrics(
        accuracy=accuracy(logits, labels),
        worst_class=float(np.nanmin(per_class)),
        tail=tail_accuracy(per_class),
        tail_classes=tuple(tail_classes(per_class).tolist()),
        fixed_tail=None if fixed is None else tail_accuracy(per_class, fixed),
        loss_at_risk=conditional_value_at_risk(losses, fraction=0.1),
    )
