"""The confident joint: how many examples of each given label seem to belong to each true class.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
70, 2021, section 3.1. https://arxiv.org/abs/1911.00068 Where the paper leaves a choice, the
numbers are those of the authors' package cleanlab 2.9, https://github.com/cleanlab/cleanlab

Probabilities are read in blocks of rows: nothing here is as large as they are.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from curation.allocation import rounded_to_sum

TOLERANCE = 1e-6
"""Probabilities nearer than this count as equal, as in cleanlab, so that rounding decides nothing."""

BLOCK_ENTRIES = 1 << 20
"""Probabilities handled at once: 8 MB in double precision, about what a processor's cache holds."""


def row_blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Slices that cover all rows, each of about `BLOCK_ENTRIES` entries."""
    step = max(1, BLOCK_ENTRIES // max(1, num_columns))
    for start in range(0, num_rows, step):
        yield slice(start, start + step)


def self_confidence(probs: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """(N,) probability of the given label."""
    own: NDArray[np.float64] = probs[np.arange(len(labels)), labels].astype(np.float64)
    return own


def confident_thresholds(probs: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """The mean probability of each class over the examples that bear its label.

    Args:
        probs: (N, K) out-of-fold probabilities.
        labels: (N,) given classes in [0, K).

    Returns:
        (K,) thresholds in [2 * TOLERANCE, 1]; infinity for a class that no example bears. Sums
        are exact, so the order of the examples does not matter.
    """
    return thresholds_of(self_confidence(probs, labels), labels, probs.shape[1])


def thresholds_of(own: NDArray[np.float64], labels: NDArray[np.integer], num_classes: int) -> NDArray[np.float64]:
    """The thresholds of `confident_thresholds` from the (N,) probabilities of the given labels."""
    counts = np.bincount(labels, minlength=num_classes)
    sums = exact_sums(own, labels, num_classes)
    means = [total / int(count) if count else math.inf for total, count in zip(sums, counts, strict=True)]
    return np.maximum(means, 2 * TOLERANCE)


def exact_sums(values: NDArray[np.float64], parts: NDArray[np.integer], num_parts: int) -> list[float]:
    """Sums of numbers in [0, 2) by part, each rounded once: what `math.fsum` says of the numbers in any order.

    Args:
        values: (N,) numbers.
        parts: (N,) part of each in [0, num_parts).
        num_parts: how many parts there are.
    """
    # So many binary digits at once that their sums, as whole numbers, are exact in double precision.
    at_once = 52 - len(values).bit_length()
    totals, bits = [0] * num_parts, 0
    while len(values):
        values = values * 2.0**at_once
        digits = np.floor(values)
        bits += at_once
        sums = np.bincount(parts, weights=digits, minlength=num_parts)
        totals = [(total << at_once) + int(more) for total, more in zip(totals, sums, strict=True)]
        values = values - digits
        left = np.flatnonzero(values)
        if len(left) < len(values):
            values, parts = values[left], parts[left]
    return [total / (1 << bits) for total in totals]


def confident_classes(probs: NDArray[np.floating], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class that each example confidently belongs to: one whose probability reaches its threshold.

    Args:
        probs: (N, K) out-of-fold probabilities.
        thresholds: (K,) one per class.

    Returns:
        (N,) classes, -1 where no class reaches its threshold. Where several do, the most probable
        class of all, as in cleanlab (the paper: the most probable among those several).
    """
    found = np.full(len(probs), -1, dtype=np.int64)
    for rows in row_blocks(*probs.shape):
        block, classes = probs[rows], found[rows]
        # Few entries reach: they are listed, which costs less than going through every row.
        place = np.flatnonzero(block >= thresholds - TOLERANCE)
        row = place // block.shape[1]
        classes[row] = place - row * block.shape[1]
        several = row[1:][row[1:] == row[:-1]]
        classes[several] = block.take(several, axis=0).argmax(axis=1)
    return found


def confident_counts(
    labels: NDArray[np.integer], confident: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Examples of label i that confidently belong to class j.

    Args:
        labels: (N,) given classes in [0, K).
        confident: (N,) from `confident_classes`; -1 counts nowhere.
        num_classes: K.

    Returns:
        (K, K) counts, labels by classes; the diagonal is raised to at least 1, as in cleanlab.
    """
    sure = confident >= 0
    cells = labels[sure] * num_classes + confident[sure]
    counts = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    return counts


def calibrated_counts(counts: NDArray[np.int64], label_counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Confident counts stretched to all examples: row i sums to the number of examples with label i.

    Args:
        counts: (K, K) from `confident_counts`.
        label_counts: (K,) how many examples bear each label; N in sum.

    Returns:
        (K, K) whole numbers with N in sum. Divided by N they estimate the joint distribution of
        given label and true class.
    """
    stretched = counts / counts.sum(axis=1, keepdims=True) * label_counts[:, None]
    # Exact but for the last digit, which decides ties of remainders as in cleanlab.
    stretched = stretched / stretched.sum() * label_counts.sum()
    return np.stack([rounded_to_sum(row) for row in stretched])


def estimated_joint(probs: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Estimated joint distribution of given label and true class.

    Args:
        probs: (N, K) out-of-fold probabilities, N at least 1.
        labels: (N,) given classes in [0, K).

    Returns:
        (K, K) shares with sum 1, labels by classes; 1 minus its trace estimates the noise rate.
    """
    num_classes = probs.shape[1]
    confident = confident_classes(probs, confident_thresholds(probs, labels))
    counts = confident_counts(labels, confident, num_classes)
    joint: NDArray[np.float64] = calibrated_counts(counts, np.bincount(labels, minlength=num_classes)) / len(labels)
    return joint
