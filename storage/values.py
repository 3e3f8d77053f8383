"""The values that cross between the packages: examples, signals, scores, selections.

Each holds an `ExampleIndex` and arrays whose first axis follows it (after the replicate
axis, where several seeds were run). Shape letters: N examples, R replicates (seeds),
T recorded epochs, K classes, D features.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.index import ExampleIndex

Array = NDArray[Any]

SUM_TOLERANCE = 1e-4
"""How far from 1 the sum of a distribution in float32 may be: above the rounding of thousands of classes."""

HighMeans = Literal["clean", "suspect", "hard", "similar"]
"""What a high score says of an example; `clean` runs against the other noise scores."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Examples as arrays, ready for a learner: what the training hand-over makes of a data set."""

    index: ExampleIndex
    inputs: Array
    """(N, H, W) or (N, H, W, C) uint8 images, or (N, D) float32 features."""
    labels: NDArray[np.int64] | None
    """(N,) given classes in [0, K), or None for a pool without labels."""
    classes: tuple[str, ...]
    """K class names; `labels` are positions in it. Empty without labels."""
    weights: NDArray[np.float32] | None = None
    """(N,) weights of at least 0; None means 1 for all. Rows of weight 0 enter no batch."""
    groups: NDArray[np.int64] | None = None
    """(N,) subpopulation of each example, or None."""
    soft_labels: NDArray[np.float32] | None = None
    """(N, K) distribution over the classes that training draws each example's label from at every visit; rows sum
    to 1. None means `labels` as they are, which metrics and class weights count by in any case."""

    def __post_init__(self) -> None:
        _check_rows(len(self.index), inputs=self.inputs, labels=self.labels, weights=self.weights, groups=self.groups)
        if self.soft_labels is not None:
            self._check_soft_labels(self.soft_labels)
        if self.labels is not None and len(self.labels):
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.classes):
                raise ValueError(f"labels must be in [0, {len(self.classes)}), got {low} to {high}")
        if self.weights is not None:
            _check_weights(self.weights)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    def _check_soft_labels(self, rows: NDArray[np.float32]) -> None:
        if self.labels is None:
            raise ValueError("soft_labels need labels beside them, which metrics count by; give each row's likeliest")
        if rows.dtype != np.float32 or rows.shape != (len(self), self.num_classes):
            raise ValueError(
                f"soft_labels must be float32 of shape {(len(self), self.num_classes)}, "
                f"got {rows.dtype} of shape {rows.shape}"
            )
        sums = rows.sum(axis=1, dtype=np.float64)
        bad = np.flatnonzero(~((np.abs(sums - 1) <= SUM_TOLERANCE) & (rows >= 0).all(axis=1)))
        if len(bad):
            raise ValueError(
                f"soft_labels must be at least 0 and sum to 1 in each row, got a sum of {sums[bad[0]]:.6g} and a "
                f"least value of {rows[bad[0]].min():.6g} for {self.index[int(bad[0])]!r}; divide each row by its sum"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """What learners recorded of each example: named arrays over one index.

    An array named in `epochs` has a leading replicate axis and an epoch axis: (R, N, T, ...).
    Any other array is (N, ...): it does not depend on the seed.
    """

    index: ExampleIndex
    arrays: Mapping[str, Array]
    """`label` (N,), `logits` (R, N, T, K), `train_logits` (R, N, T, K), ..."""
    epochs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Which epochs (counted from 1) the T entries of a recorded array belong to."""
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of what the whole numbers of an array stand for, such as the classes of `label`."""

    def __post_init__(self) -> None:
        replicates = {self.arrays[name].shape[0] for name in self.epochs if name in self.arrays}
        if len(replicates) > 1:
            raise ValueError(f"signals have differing numbers of replicates: {sorted(replicates)}")
        for name, array in self.arrays.items():
            rows = array.shape[1] if name in self.epochs else array.shape[0]
            if rows != len(self.index):
                raise ValueError(f"signal {name!r} has {rows} rows for {len(self.index)} examples")
            if name in self.epochs and array.shape[2] != len(self.epochs[name]):
                raise ValueError(f"signal {name!r} has {array.shape[2]} epochs, but {len(self.epochs[name])} are named")
        object.__setattr__(self, "arrays", MappingProxyType(dict(self.arrays)))
        object.__setattr__(self, "epochs", MappingProxyType(dict(self.epochs)))
        object.__setattr__(self, "categories", MappingProxyType(dict(self.categories)))

    def __getitem__(self, name: str) -> Array:
        """The array of a signal, or an error that lists the signals there are."""
        if name not in self.arrays:
            have = ", ".join(sorted(self.arrays)) or "none"
            raise ValueError(
                f"signal {name!r} was not recorded; this run has {have}. Add it to 'record' in the recipe."
            )
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __len__(self) -> int:
        return len(self.index)

    def at_epoch(self, name: str, epoch: int | None) -> Array:
        """(R, N, ...) entries of a recorded signal at one epoch; None means the last recorded one.

        Raises:
            ValueError: that epoch was not recorded; the message lists those that were.
        """
        array = self[name]
        if name not in self.epochs:
            raise ValueError(f"signal {name!r} does not change over epochs")
        recorded = self.epochs[name]
        if epoch is None:
            return array[:, :, -1]
        if epoch not in recorded:
            raise ValueError(
                f"epoch {epoch} of signal {name!r} was not recorded; recorded are "
                f"{', '.join(map(str, recorded))}. Add it to 'record' in the recipe."
            )
        return array[:, :, recorded.index(epoch)]

    def take(self, positions: NDArray[np.integer]) -> "Signals":
        """Signals of the examples at these positions, in that order."""
        arrays = {
            name: array[:, positions] if name in self.epochs else array[positions]
            for name, array in self.arrays.items()
        }
        return Signals(index=self.index.take(positions), arrays=arrays, epochs=self.epochs, categories=self.categories)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """One finite number per example, with its standard error over seeds where several were run."""

    index: ExampleIndex
    values: NDArray[np.float64]
    """(N,) scores."""
    high_means: HighMeans
    """What a high value says."""
    standard_error: NDArray[np.float64] | None = None
    """(N,) standard error of the mean over R > 1 seeds."""
    columns: Mapping[str, Array] = field(default_factory=dict)
    """Further (N,) columns: a suggested label (as a class position), a flag."""

    def __post_init__(self) -> None:
        if self.high_means not in get_args(HighMeans):
            raise ValueError(f"high_means must be one of {', '.join(get_args(HighMeans))}, got {self.high_means!r}")
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        _check_rows(len(self.index), values=self.values, standard_error=self.standard_error, **self.columns)
        bad = np.flatnonzero(~np.isfinite(self.values))
        if len(bad):
            raise ValueError(
                f"{len(bad)} of {len(self.index)} scores are not finite (first: {self.index[int(bad[0])]!r})"
            )
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def suspicion(self) -> NDArray[np.float64]:
        """(N,) values turned round where needed, so that high means more likely wrong."""
        return -self.values if self.high_means == "clean" else self.values


ScheduleRule = Literal["redrawn", "dealt"]
"""`redrawn`: each epoch is a uniform draw of its own. `dealt`: the examples are shuffled and dealt out, a hand an
epoch, until fewer than a hand are left; then all are shuffled again."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which share of the kept examples each epoch visits, and by which rule it changes from epoch to epoch."""

    rule: ScheduleRule
    """`redrawn` or `dealt`; no epoch visits an example twice."""
    fraction: float
    """Share of the kept examples that an epoch visits, in (0, 1]."""
    seed: int
    """Seed of the draws, at least 0."""

    def __post_init__(self) -> None:
        if self.rule not in get_args(ScheduleRule):
            raise ValueError(f"rule must be one of {', '.join(get_args(ScheduleRule))}, got {self.rule!r}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticRows:
    """M rows that a rebalancer made for the training split, each with the examples that it was made from."""

    index: ExampleIndex
    """Ids of the M rows, `<data set>:synthetic-<hash of the row>`."""
    features: pl.DataFrame
    """(M,) rows with the data set's features by name: numbers as float64, vectors and categories as it stores them."""
    labels: NDArray[np.int64]
    """(M,) classes in [0, K)."""
    parent_a: pl.Series
    """(M,) id of the example that each starts from."""
    parent_b: pl.Series
    """(M,) id of the example that it leans to; that of `parent_a` where it has but one."""
    gap: NDArray[np.float64]
    """(M,) how far it lies from a towards b: numbers = a + gap * (b - a)."""
    voters: pl.Series
    """(M,) lists of the ids whose majority gave the categories; empty where none voted."""
    method: str
    """Name of the rebalancer."""
    groups: NDArray[np.int64] | None = None
    """(M,) groups, those of `parent_a`; None where the data set has none."""

    def __post_init__(self) -> None:
        for name in ("features", "labels", "parent_a", "parent_b", "gap", "voters", "groups"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.index):
                raise ValueError(f"{name} has {len(column)} rows for {len(self.index)} synthetic ones")

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """A weight and a reason for every example; weight 0 is dropped, and still a row."""

    index: ExampleIndex
    weights: NDArray[np.float32]
    """(N,) weights of at least 0."""
    reasons: NDArray[np.object_]
    """(N,) short texts saying which rule gave the weight."""
    labels: NDArray[np.int64] | None = None
    """(N,) labels to train on where some were corrected; None keeps the given ones."""
    schedule: Schedule | None = None
    """Which of the kept examples each epoch visits; None is all of them."""
    synthetic: SyntheticRows | None = None
    """Rows beside the N examples, each of weight 1; None where there are none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", np.asarray(self.weights, dtype=np.float32))
        _check_rows(len(self.index), weights=self.weights, reasons=self.reasons, labels=self.labels)
        _check_weights(self.weights)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(N,) whether the weight is above 0."""
        return self.weights > 0

    def counts(self) -> Iterator[tuple[str, int]]:
        """Each reason with the number of examples it decided, most first."""
        names, numbers = np.unique(self.reasons.astype(str), return_counts=True)
        for place in np.argsort(-numbers, kind="stable"):
            yield str(names[place]), int(numbers[place])


def _check_rows(expected: int, **arrays: Array | None) -> None:
    for name, array in arrays.items():
        if array is not None and len(array) != expected:
            raise ValueError(f"{name} has {len(array)} rows for {expected} examples")


def _check_weights(weights: NDArray[np.float32]) -> None:
    if len(weights) and not (np.isfinite(weights).all() and weights.min() >= 0):
        raise ValueError(f"weights must be finite and at least 0, got {weights.min()}")
