"""Scorer: turns signals into one number per example; and the mean over seeds that most scorers end with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from storage.index import ExampleIndex
from storage.values import Array, HighMeans, Scores, Signals


class Scorer(ABC):
    """A frozen dataclass of settings that maps signals to scores and does nothing else.

    The file name of an implementation is its name in recipes.
    """

    reads: ClassVar[tuple[str, ...]]
    """Signals that the learner must have recorded."""
    high_means: ClassVar[HighMeans]
    """Which way round the score runs."""
    per_example: ClassVar[bool]
    """Whether no example's score depends on another example's signals."""
    revision: ClassVar[int] = 1
    """Raised whenever the method's numbers change: stored scores of older revisions are not reused."""

    @abstractmethod
    def __call__(self, signals: Signals) -> Scores:
        """Score every example of these signals."""


def mean_over_seeds(
    index: ExampleIndex,
    values: Sequence[NDArray[np.float64]] | NDArray[np.float64],
    *,
    high_means: HighMeans,
    columns: Mapping[str, Array] | None = None,
) -> Scores:
    """Scores that are the mean of one score per seed, with the standard error of that mean.

    Args:
        index: N examples.
        values: (R, N) one score per seed and example.
        high_means: what a high value says.
        columns: further (N,) columns.

    Returns:
        Scores with a standard error where R > 1 (sample standard deviation / sqrt(R)).
    """
    stacked = np.asarray(values, dtype=np.float64)
    seeds = stacked.shape[0]
    error = stacked.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else None
    return Scores(
        index=index,
        values=stacked.mean(axis=0),
        high_means=high_means,
        standard_error=error,
        columns=columns or {},
    )


def check_finite(index: ExampleIndex, name: str, array: Array) -> None:
    """Refuse a recorded signal that holds NaN or infinity.

    Args:
        index: N examples.
        name: the signal's name, for the message.
        array: (R, N, ...) its entries.

    Raises:
        ValueError: some entry is not finite; the message counts the examples and names the first.
    """
    if np.isfinite(array).all():
        return
    broken = ~np.isfinite(array).all(axis=(0, *range(2, array.ndim)))
    first = index[int(np.flatnonzero(broken)[0])]
    raise ValueError(
        f"signal {name!r} is not finite for {int(broken.sum())} of {len(index)} examples (first: {first!r}); "
        "training diverged, or its recording is damaged"
    )


def given_labels(signals: Signals, num_classes: int) -> NDArray[np.int64]:
    """The given labels, checked against the number of classes that a signal has.

    Args:
        signals: must hold `label` (N,).
        num_classes: K.

    Returns:
        (N,) classes in [0, K).

    Raises:
        ValueError: `label` was not recorded, or one is not a whole number in [0, K).
    """
    labels = np.asarray(signals["label"])
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"signal 'label' must hold integers, got {labels.dtype}")
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(outside):
        first = int(outside[0])
        raise ValueError(
            f"{len(outside)} of {len(labels)} labels are not in [0, {num_classes}) "
            f"(first: {signals.index[first]!r} has {labels[first]})"
        )
    return labels.astype(np.int64)


def check_epoch(epoch: int | None) -> None:
    """Refuse an epoch below 1; None stands for the last recorded one."""
    if epoch is not None and epoch < 1:
        raise ValueError(f"epoch must be at least 1, got {epoch}")
