"""Scorer: turns signals into one number per example; and the mean over seeds that most scorers end with.

A `MergingScorer` also carries a set's scores over to the set with further rows, without doing all again.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.packages import MayNeedPackages
from storage.index import ExampleIndex
from storage.values import Array, HighMeans, Scores, Signals


class Scorer(MayNeedPackages, ABC):
    """A frozen dataclass of settings that maps signals to scores and does nothing else.

    The file name of an implementation is its name in recipes.
    """

    reads: ClassVar[tuple[str, ...]]
    """Signals that the learner must have recorded."""
    high_means: ClassVar[HighMeans]
    """Which way round the score runs."""
    per_example: ClassVar[bool]
    """Whether no example's score depends on another example's signals."""
    by_seed: ClassVar[bool] = True
    """Whether some of a learner's seeds give such a score as well as all of them; else seeds never stop for it."""
    all_targets: ClassVar[bool] = False
    """Whether targets outside the training split of their data set, which are never read, are refused."""
    revision: ClassVar[int] = 1
    """Raised whenever the method's numbers change: stored scores of older revisions are not reused."""

    @abstractmethod
    def __call__(self, signals: Signals) -> Scores:
        """Score every example of these signals."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Merge:
    """What a merging scorer returns: the scores that are new, and what the next rows will need."""

    state: Mapping[str, Array]
    """Named arrays of numbers that stand for all rows so far; what `extend` is given next time."""
    new: Scores
    """Scores of the rows just given."""
    changed: Scores | None = None
    """Scores, whole, of those earlier rows whose value or columns these rows changed; None where there are none."""

    def __post_init__(self) -> None:
        arrays = {name: np.ascontiguousarray(array) for name, array in self.state.items()}
        object.__setattr__(self, "state", MappingProxyType(arrays))

    def over(self, earlier: Scores | None) -> Scores:
        """Scores of all rows: the earlier ones, as far as they still hold, and then the new ones.

        Args:
            earlier: what `extend` was given; None after `start`.
        """
        if earlier is None:
            return self.new
        return joined_scores(earlier if self.changed is None else _replaced(earlier, self.changed), self.new)


class MergingScorer(Scorer):
    """A scorer of which an example's score depends on others, and which can take in further rows.

    However rows are cut into batches, `start` with the first batch and `extend` with each further one, in order,
    gives every row the same values and columns, bit for bit, as one `start` with all of them. Where
    `frozen_at_start`, it is the same as scoring all of them by the state of the start.
    """

    per_example: ClassVar[bool] = False
    frozen_at_start: ClassVar[bool] = False
    """Whether the state is fitted on the rows of the start, and every later row is scored by it alone."""

    @abstractmethod
    def start(self, signals: Signals) -> Merge:
        """Score a first set of rows."""

    @abstractmethod
    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Score further rows, and anew those earlier ones that they change.

        Args:
            state: that of the `Merge` before, made by the same settings.
            earlier: scores of all N rows before, in their order (`Merge.over`).
            signals: M further rows, none of them among the earlier ones.
        """

    def __call__(self, signals: Signals) -> Scores:
        """Score every example of these signals."""
        return self.start(signals).new


def joined_scores(first: Scores, second: Scores) -> Scores:
    """Scores of the rows of both, in that order; both have the same columns."""
    errors = (first.standard_error, second.standard_error)
    return Scores(
        index=joined_index(first.index, second.index),
        values=np.concatenate([first.values, second.values]),
        high_means=second.high_means,
        standard_error=None if errors[0] is None or errors[1] is None else np.concatenate([errors[0], errors[1]]),
        columns={name: np.concatenate([first.columns[name], column]) for name, column in second.columns.items()},
    )


def joined_index(first: ExampleIndex, second: ExampleIndex) -> ExampleIndex:
    """Ids of both, in that order.

    Raises:
        ValueError: an id is in both.
    """
    return ExampleIndex(pl.concat([first.ids, second.ids]))


def check_apart(earlier: ExampleIndex, new: ExampleIndex) -> None:
    """Refuse new rows of which one is among the earlier ones.

    Raises:
        ValueError: an id is in both.
    """
    known = earlier.ids.filter(earlier.ids.is_in(new.ids.implode()))
    if len(known):
        raise ValueError(f"example id {known[0]!r} occurs more than once")


def scores_at(scores: Scores, positions: NDArray[np.integer]) -> Scores:
    """Scores of the examples at these positions, in that order."""
    error = scores.standard_error
    return Scores(
        index=scores.index.take(positions),
        values=scores.values[positions],
        high_means=scores.high_means,
        standard_error=None if error is None else error[positions],
        columns={name: column[positions] for name, column in scores.columns.items()},
    )


def parted(earlier: Scores, whole: Scores, state: Mapping[str, Array]) -> Merge:
    """The merge that turns earlier scores into those of all rows.

    Args:
        earlier: scores of the first N rows before.
        whole: scores of all N + M rows now, the first N in the same order.
        state: what the next rows will need.
    """
    num_earlier = len(earlier)
    differs = whole.values[:num_earlier] != earlier.values
    if earlier.standard_error is not None and whole.standard_error is not None:
        differs |= whole.standard_error[:num_earlier] != earlier.standard_error
    for name, column in earlier.columns.items():
        differs |= np.asarray(whole.columns[name][:num_earlier] != column, dtype=np.bool_)
    moved = np.flatnonzero(differs)
    return Merge(
        state=state,
        new=scores_at(whole, np.arange(num_earlier, len(whole))),
        changed=scores_at(whole, moved) if len(moved) else None,
    )


def _replaced(earlier: Scores, changed: Scores) -> Scores:
    places = earlier.index.positions(changed.index.ids)
    error = earlier.standard_error
    return Scores(
        index=earlier.index,
        values=_put(earlier.values, places, changed.values),
        high_means=earlier.high_means,
        standard_error=None
        if error is None or changed.standard_error is None
        else _put(error, places, changed.standard_error),
        columns={name: _put(column, places, changed.columns[name]) for name, column in earlier.columns.items()},
    )


def _put(array: Array, places: NDArray[np.int64], entries: Array) -> Array:
    copy = array.copy()
    copy[places] = entries
    return copy


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
