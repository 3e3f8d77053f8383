"""Small training sets of unequal classes, and imbalanced-learn's draws beside ours."""

import numpy as np

from curation.rebalancer import Rebalanced, TrainingRows
from storage.index import ExampleIndex


def training_rows(features, labels, *, categories=None, classes=None) -> TrainingRows:
    """Rows whose ids sort as they stand."""
    labels = np.asarray(labels, dtype=np.int64)
    if classes is None:
        classes = tuple("abcdefgh"[: labels.max() + 1])
    return TrainingRows(
        index=ExampleIndex(f"world:{number:05}" for number in range(len(labels))),
        features=np.asarray(features, dtype=None if isinstance(features, np.ndarray) else np.float64),
        labels=labels,
        classes=classes,
        categories=categories,
    )


def clouds(
    *, counts=(120, 30), columns=4, num_categories=0, num_levels=5, twins=0, apart=0.8, seed=0, dtype=np.float64
) -> TrainingRows:
    """Overlapping Gaussian clouds, shuffled, a few rows of each class given again as exact twins."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = rng.normal(size=(len(labels), columns)) + apart * labels[:, None]
    categories = rng.integers(num_levels, size=(len(labels), num_categories))
    categories[:, ::2] = (categories[:, ::2] + labels[:, None]) // 2
    for label in range(len(counts)):
        own = np.flatnonzero(labels == label)
        features[own[:twins]], categories[own[:twins]] = features[own[-1]], categories[own[-1]]
    order = rng.permutation(len(labels))
    return training_rows(
        features[order].astype(dtype),
        labels[order],
        categories=categories[order] if num_categories else None,
    )


def same_draws(seed: int = 0) -> tuple[np.random.Generator, np.random.RandomState]:
    """A generator for us and a random state for imbalanced-learn that give the same numbers."""
    return np.random.default_rng(seed), np.random.RandomState(np.random.PCG64(seed))


def assert_on_segments(rows: TrainingRows, made: Rebalanced) -> None:
    """Every synthetic row is a + gap * (b - a), and is of the class of its first parent."""
    first, second = rows.features[made.parent_a], rows.features[made.parent_b]
    again = first + made.gap[:, None] * (second - first)
    np.testing.assert_array_equal(made.features, again.astype(rows.features.dtype))
    np.testing.assert_array_equal(made.labels, rows.labels[made.parent_a])
