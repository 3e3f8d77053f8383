"""Planted label noise: labels made wrong on purpose, so that what finds wrong labels can be measured.

Noise is a transition matrix, `T[i, j] = P(label=j given clean_label=i)`. Each setting class
below makes one; `flip_labels` draws from it. The truth about an example is whether its label
differs from its clean label, never whether it was drawn for a flip.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storage.index import ExampleIndex

Matrix = NDArray[np.float64]


class Noise(Protocol):
    """Settings that say with which probability each class becomes which other."""

    def matrix(self, num_classes: int) -> Matrix:
        """(K, K) transition matrix."""


@dataclass(frozen=True, kw_only=True)
class Symmetric:
    """Every class loses the same share of its labels, evenly to all other classes."""

    rate: float
    """Share of wrong labels to expect, in [0, 1]."""

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def matrix(self, num_classes: int) -> Matrix:
        """(K, K) transition matrix."""
        return symmetric_matrix(num_classes, self.rate)


@dataclass(frozen=True, kw_only=True)
class Asymmetric:
    """Some classes lose a share of their labels, each to one class that resembles it."""

    rate: float
    """Share of wrong labels to expect within each source class, in [0, 1]."""
    pairs: tuple[tuple[int, int], ...]
    """(source, destination) class positions; each source once."""

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        if not self.pairs:
            raise ValueError("pairs must name at least one (source, destination) class, got none")

    def matrix(self, num_classes: int) -> Matrix:
        """(K, K) transition matrix."""
        return asymmetric_matrix(num_classes, self.pairs, self.rate)


@dataclass(frozen=True, kw_only=True)
class TransitionMatrix:
    """Noise written out as a whole matrix."""

    rows: tuple[tuple[float, ...], ...]
    """K rows of K probabilities; row i holds P(label=j given clean_label=i) and sums to 1."""

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.rows}
        if lengths != {len(self.rows)}:
            raise ValueError(f"rows must form a square matrix, got {len(self.rows)} rows of lengths {sorted(lengths)}")
        check_matrix(np.array(self.rows, dtype=np.float64), len(self.rows))

    def matrix(self, num_classes: int) -> Matrix:
        """(K, K) transition matrix."""
        given = np.array(self.rows, dtype=np.float64)
        check_matrix(given, num_classes)
        return given


def symmetric_matrix(num_classes: int, rate: float) -> Matrix:
    """Transition matrix of uniform noise over the K - 1 wrong classes.

    The code of ELR (Liu et al., NeurIPS 2020) draws the new label from all K classes, the right
    one included: what it calls noise of 0.4 is `rate = 0.4 * (1 - 1 / num_classes)` here.

    Args:
        num_classes: K, at least 2.
        rate: share of wrong labels to expect, in [0, 1].

    Returns:
        (K, K) matrix: 1 - rate on the diagonal, rate / (K - 1) elsewhere.
    """
    _check_rate(rate)
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    matrix = np.full((num_classes, num_classes), rate / (num_classes - 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def asymmetric_matrix(num_classes: int, pairs: tuple[tuple[int, int], ...], rate: float) -> Matrix:
    """Transition matrix of noise that sends each source class to one other class.

    All flips are drawn at once from the clean labels, so a label never moves twice.

    Args:
        num_classes: K, at least 2.
        pairs: (source, destination) classes in [0, K); each source once, never to itself.
        rate: share of wrong labels to expect within each source class, in [0, 1].

    Returns:
        (K, K) matrix; rows of classes that are no source are the identity's.
    """
    _check_rate(rate)
    sources = [source for source, _ in pairs]
    if len(set(sources)) != len(sources):
        raise ValueError(f"each source class may occur once in pairs, got {list(pairs)}")
    matrix = np.eye(num_classes)
    for source, destination in pairs:
        if not (0 <= source < num_classes and 0 <= destination < num_classes) or source == destination:
            raise ValueError(
                f"pairs must join two different classes in [0, {num_classes}), got {(source, destination)}"
            )
        matrix[source, source] = 1.0 - rate
        matrix[source, destination] = rate
    return matrix


def check_matrix(transition_matrix: Matrix, num_classes: int) -> None:
    """Refuse what is not a (K, K) matrix of probabilities whose rows sum to 1.

    Raises:
        ValueError: wrong shape, an entry outside [0, 1], or a row that does not sum to 1.
    """
    if transition_matrix.shape != (num_classes, num_classes):
        raise ValueError(f"transition_matrix must be {num_classes} x {num_classes}, got {transition_matrix.shape}")
    if not ((transition_matrix >= 0) & (transition_matrix <= 1)).all():
        raise ValueError(
            "transition_matrix must hold probabilities in [0, 1], got "
            f"{transition_matrix.min()} to {transition_matrix.max()}"
        )
    sums = transition_matrix.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-6)
    if len(wrong):
        raise ValueError(f"rows of transition_matrix must sum to 1, row {wrong[0]} sums to {sums[wrong[0]]:g}")


def flip_labels(
    clean_labels: NDArray[np.integer],
    transition_matrix: Matrix,
    rng: np.random.Generator,
    *,
    index: ExampleIndex | None = None,
) -> NDArray[np.int64]:
    """Labels drawn from the transition matrix, one for each clean label.

    Args:
        clean_labels: (N,) classes in [0, K).
        transition_matrix: (K, K) probabilities; row i is for clean label i.
        rng: the only source of chance; one number is drawn for each example.
        index: the examples' ids. With it the numbers are dealt in the order of the ids, so that
            the order of the rows does not matter; without it, in the order of the rows.

    Returns:
        (N,) labels in [0, K), some of them wrong.
    """
    num_classes = len(transition_matrix)
    check_matrix(transition_matrix, num_classes)
    _check_classes("clean_labels", clean_labels, num_classes)
    chances = rng.random(len(clean_labels))
    if index is not None:
        if len(index) != len(clean_labels):
            raise ValueError(f"clean_labels has {len(clean_labels)} rows for {len(index)} examples")
        chances = chances[index.ids.rank("ordinal").to_numpy() - 1]
    cumulative = transition_matrix.cumsum(axis=1)
    cumulative /= cumulative[:, -1:]
    labels = np.empty(len(clean_labels), dtype=np.int64)
    for clean in range(num_classes):
        rows = clean_labels == clean
        labels[rows] = np.searchsorted(cumulative[clean], chances[rows], side="right")
    return labels


def realised_rate(labels: NDArray[np.integer], clean_labels: NDArray[np.integer]) -> float:
    """Share of labels that differ from the clean ones, in [0, 1]."""
    _check_pairing(labels, clean_labels)
    return float(np.mean(labels != clean_labels))


def transition_counts(
    labels: NDArray[np.integer], clean_labels: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """How many examples of each class carry each label.

    Args:
        labels: (N,) given classes in [0, K).
        clean_labels: (N,) true classes in [0, K).
        num_classes: K.

    Returns:
        (K, K) counts; entry [i, j] counts label j among clean label i.
    """
    _check_pairing(labels, clean_labels)
    _check_classes("labels", labels, num_classes)
    _check_classes("clean_labels", clean_labels, num_classes)
    cells = clean_labels.astype(np.int64) * num_classes + labels
    counts: NDArray[np.int64] = np.bincount(cells, minlength=num_classes**2).astype(np.int64)
    return counts.reshape(num_classes, num_classes)


def _check_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be in [0, 1], got {rate}")


def _check_classes(name: str, labels: NDArray[np.integer], num_classes: int) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{name} must hold integers, got {labels.dtype}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
        raise ValueError(f"{name} must be in [0, {num_classes}), got {labels.min()} to {labels.max()}")


def _check_pairing(labels: NDArray[np.integer], clean_labels: NDArray[np.integer]) -> None:
    if labels.shape != clean_labels.shape or not len(labels):
        raise ValueError(
            f"labels and clean_labels must be equally long and not empty, got {len(labels)} and {len(clean_labels)}"
        )
