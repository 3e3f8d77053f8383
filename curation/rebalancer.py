"""Rebalancer: evens out the classes of a training set, by rows left out and by synthetic rows that name their parents.

A rebalancer sees the rows it is given and no others, so that nothing crosses a split: hand it the training split.
Synthetic rows lie between their parents as vectors of features. That makes sense for measurements and for
embeddings; between two images or texts lies neither, so these are rebalanced in the space of their embeddings.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.packages import MayNeedPackages
from curation.ranks import by_id
from storage.index import ExampleIndex
from storage.values import Array

Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRows:
    """Rows of a training split: numbers, categories, or both."""

    index: ExampleIndex
    features: NDArray[np.floating]
    """(N, D) finite numbers; D may be 0 where all columns are categories."""
    labels: NDArray[np.int64]
    """(N,) classes in [0, K)."""
    classes: tuple[str, ...]
    """K class names."""
    categories: NDArray[np.integer] | None = None
    """(N, C) codes of at least 0, a column for each of C >= 1 categorical features; None where there is none."""

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or not np.issubdtype(self.features.dtype, np.floating):
            raise ValueError(
                f"features must be (N, D) of floating point, got {self.features.shape} of {self.features.dtype}; "
                "rebalance images and texts by their embeddings"
            )
        for name, array in (("features", self.features), ("labels", self.labels), ("categories", self.categories)):
            if array is not None and len(array) != len(self.index):
                raise ValueError(f"{name} has {len(array)} rows for {len(self.index)} examples")
        self._refuse("null or not finite in its features", np.logical_not(np.isfinite(self.features).all(axis=1)))
        if self.categories is not None:
            if self.categories.ndim != 2 or not np.issubdtype(self.categories.dtype, np.integer):
                shape, kind = self.categories.shape, self.categories.dtype
                raise ValueError(f"categories must be (N, C) of whole numbers, got {shape} of {kind}")
            if not self.categories.shape[1]:
                raise ValueError("categories must have at least one column, got none; leave them out")
            self._refuse("null (a code below 0) in its categories", self.categories.min(axis=1) < 0)
        outside = (self.labels < 0) | (self.labels >= len(self.classes))
        self._refuse(f"labelled outside [0, {len(self.classes)})", outside)

    def _refuse(self, what: str, broken: Array) -> None:
        places = np.flatnonzero(broken)
        if len(places):
            raise ValueError(
                f"{len(places)} of {len(self.index)} examples are {what} (first: {self.index[int(places[0])]!r}); "
                "rebalancing cannot fill it in: leave such rows out or fill them at ingest"
            )

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def order(self) -> Positions:
        """(N,) positions in the order of the ids, in which all draws are made."""
        return by_id(self.index.ids)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(K,) number of rows of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def members(self, label: int) -> Positions:
        """Positions of the rows of a class, in the order of the ids."""
        members: Positions = self.order[self.labels[self.order] == label]
        return members


@dataclass(frozen=True, kw_only=True, eq=False)
class Rebalanced:
    """Which of N rows stay, and M synthetic rows, each with the rows it was made from."""

    index: ExampleIndex
    """The N rows that were given."""
    kept: NDArray[np.bool_]
    """(N,) whether a row stays."""
    features: NDArray[np.floating]
    """(M, D) features of the synthetic rows, in the type of those given."""
    labels: NDArray[np.int64]
    """(M,) their classes."""
    parent_a: Positions
    """(M,) position of the row that each starts from."""
    parent_b: Positions
    """(M,) position of the row it leans to; parent_a where it has but one."""
    gap: NDArray[np.float64]
    """(M,) how far it lies from a towards b: features = a + gap * (b - a); below 0 on the far side of a."""
    categories: NDArray[np.integer] | None = None
    """(M, C) their categories, or None without any."""
    voters: Positions | None = None
    """(M, V) positions of the rows whose majority gave the categories: parents too; None where categories were
    copied from parent_a or there are none."""

    def __post_init__(self) -> None:
        if len(self.kept) != len(self.index):
            raise ValueError(f"kept has {len(self.kept)} rows for {len(self.index)} examples")
        for name in ("labels", "parent_a", "parent_b", "gap", "categories", "voters"):
            array = getattr(self, name)
            if array is not None and len(array) != len(self.features):
                raise ValueError(f"{name} has {len(array)} rows for {len(self.features)} synthetic ones")

    def __len__(self) -> int:
        return len(self.features)

    def take(self, kept: NDArray[np.bool_], synthetic: Positions) -> "Rebalanced":
        """What is left when only some rows stay: a mask over the N, and positions among the M."""
        return Rebalanced(
            index=self.index,
            kept=self.kept & kept,
            features=self.features[synthetic],
            labels=self.labels[synthetic],
            parent_a=self.parent_a[synthetic],
            parent_b=self.parent_b[synthetic],
            gap=self.gap[synthetic],
            categories=None if self.categories is None else self.categories[synthetic],
            voters=None if self.voters is None else self.voters[synthetic],
        )


class Rebalancer(MayNeedPackages, ABC):
    """A frozen dataclass of settings that maps training rows to a rebalanced set and does nothing else.

    The file name of an implementation is its name in recipes. The order of the rows changes nothing for any of them.
    """

    revision: ClassVar[int] = 1
    """Raised whenever the method's choices change: stored results of older revisions are not reused."""
    only_copies: ClassVar[bool] = False
    """Whether it leaves rows out or repeats them and reads no feature, so that they may hold anything."""

    @abstractmethod
    def __call__(self, rows: TrainingRows, rng: np.random.Generator) -> Rebalanced:
        """Even out the classes.

        Args:
            rows: the training split, and nothing else.
            rng: the only source of chance.

        Raises:
            ValueError: the rows do not allow what the settings ask for.
        """


def legacy_draws(rng: np.random.Generator) -> np.random.RandomState:
    """The generator's own stream of bits behind the calls that imbalanced-learn makes.

    imbalanced-learn, given `RandomState` of the same bit generator in the same state, draws the same numbers.
    """
    return np.random.RandomState(rng.bit_generator)


def check_numeric(rows: TrainingRows, method: str) -> None:
    """Refuse rows without numbers, and rows with categories that a method would leave out of sight."""
    if rows.categories is not None:
        raise ValueError(f"{method} cannot mix categories; use smote_nc, or smote_n where there are no numbers")
    if not rows.features.shape[1]:
        raise ValueError(f"{method} needs at least one numeric feature, got none")


def check_members(rows: TrainingRows, label: int, num_neighbors: int, method: str) -> None:
    """Refuse a class with too few rows for each to have so many neighbours of its own class."""
    count = int(rows.counts[label])
    if count <= num_neighbors:
        remedy = f"set num_neighbors to {count - 1} or use random_over" if count > 1 else "use random_over"
        raise ValueError(
            f"class {rows.classes[label]!r} has {count} examples, but {method} with {num_neighbors} neighbours "
            f"needs at least {num_neighbors + 1}; {remedy}"
        )


def check_at_least(name: str, value: int, least: int) -> None:
    """Refuse a count below the least that makes sense."""
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
