"""Subset: a published selection as a map-style data set that a PyTorch DataLoader takes as it is.

    subset = Store.open("./tamis-store").subset("fashion-clean@3")
    for batch in DataLoader(subset, batch_size=128, shuffle=True): ...

The rows lie in files that are mapped (`storage/handover.py`), so worker processes share them whether they are
forked or spawned: what is sent to a spawned one is the names of the files. `learners.batches.loader` gives whole
batches several times faster, the same after a crash, and split over ranks.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from storage.handover import Handover, gathered, map_files
from storage.index import ExampleIndex
from storage.values import Array, Schedule
from storage.versions import Version


class Subset:
    """The kept examples of a subset version, in NumPy.

    An item is a dict of `input` (as stored: uint8 (H, W[, C]) or float32 (D,)), `weight` (above 0), `position`
    (row number in the training split, stable within this version), `example_id`, and where there are such:
    `label` (the corrected one where there is one), `group` and `target`. Torch's default collation makes batches
    of items; a list of rows gives the same dict with one more leading axis, gathered at once.

    Synthetic rows come last; their positions follow those of the training split.
    """

    def __init__(
        self,
        version: Version,
        classes: tuple[str, ...],
        rows: Handover,
        paths: Mapping[str, Path] | None = None,
        schedule: Schedule | None = None,
        num_synthetic: int = 0,
    ) -> None:
        """Hold the kept rows; `Store.subset` is the way to get one.

        Args:
            version: what these examples were published as.
            classes: names of the classes; labels are positions in it.
            rows: the M kept rows.
            paths: the files that hold the rows, by the name of the array; None if they are in memory alone.
            schedule: which of the rows each epoch visits; None is all of them.
            num_synthetic: how many of the rows, the last ones, are synthetic.
        """
        self.version = version
        self.classes = classes
        self.schedule = schedule
        self.num_synthetic = num_synthetic
        self.targets: NDArray[np.float32] | None = None
        """(M, K) prior targets, or None."""
        self._rows = rows
        self._paths = paths

    @property
    def inputs(self) -> Array:
        """(M, H, W[, C]) uint8 images or (M, D) float32 features."""
        return self._rows.inputs

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(M,) classes to train on, or None for a pool without labels."""
        return self._rows.labels

    @property
    def weights(self) -> NDArray[np.float32]:
        """(M,) weights above 0."""
        return self._rows.weights

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """(M,) subpopulation of each example, or None."""
        return self._rows.groups

    @property
    def positions(self) -> NDArray[np.int64]:
        """(M,) row numbers in the training split; those of synthetic rows follow behind it."""
        return self._rows.positions

    @property
    def synthetic(self) -> NDArray[np.bool_]:
        """(M,) whether a row is synthetic."""
        return np.arange(len(self)) >= len(self) - self.num_synthetic

    @cached_property
    def index(self) -> ExampleIndex:
        """Ids of the kept examples."""
        return ExampleIndex(pl.Series([self._rows.identifier(row) for row in range(len(self))], dtype=pl.String))

    def with_targets(self, index: ExampleIndex, targets: ArrayLike) -> Self:
        """This subset with prior targets, such as the memory of ELR or PS-KD that an earlier training left.

        Args:
            index: ids that the targets belong to; all of this subset's must be among them.
            targets: (N, K) numbers, one row per id; kept in memory as float32.

        Raises:
            ValueError: an id of this subset is missing, or the shape is another one.
        """
        matrix = np.asarray(targets, dtype=np.float32)
        if matrix.ndim != 2 or len(matrix) != len(index) or (self.classes and matrix.shape[1] != len(self.classes)):
            raise ValueError(f"targets must be ({len(index)}, {len(self.classes)}), got {matrix.shape}")
        other = type(self)(self.version, self.classes, self._rows, self._paths, self.schedule, self.num_synthetic)
        other.targets = matrix[index.positions(self.index.ids)]
        return other

    def __len__(self) -> int:
        return len(self._rows.positions)

    def __getitem__(self, row: int | Sequence[int] | NDArray[np.integer]) -> dict[str, Any]:
        if isinstance(row, (Sequence, np.ndarray)):
            return self._gathered(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} in {self.version}")
        row %= len(self)
        return {name: array[row] for name, array in self._arrays.items()} | {"example_id": self._rows.identifier(row)}

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        columns = self._gathered(rows)
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _gathered(self, rows: Sequence[int] | NDArray[np.integer]) -> dict[str, Any]:
        """Some rows, each name with an array over all of them; ids as a list."""
        if np.asarray(rows).dtype == np.bool_:
            raise TypeError("rows are given by their numbers, not as a mask; take numpy.flatnonzero of it")
        places = np.asarray(rows, dtype=np.int64)
        if len(places) and not (places.min() >= -len(self) and places.max() < len(self)):
            raise IndexError(f"rows {places.min()} to {places.max()} of {len(self)} in {self.version}")
        places = places % max(len(self), 1)
        taken: dict[str, Any] = {name: gathered(array, places) for name, array in self._arrays.items()}
        return taken | {"example_id": [self._rows.identifier(int(place)) for place in places]}

    @cached_property
    def _arrays(self) -> dict[str, Array]:
        arrays = {
            "input": self.inputs,
            "weight": self.weights,
            "position": self.positions,
            "label": self.labels,
            "group": self.groups,
            "target": self.targets,
        }
        return {name: array for name, array in arrays.items() if array is not None}

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in ("_arrays", "index")}
        return state | {"_rows": None} if self._paths else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._paths:
            self._rows = map_files(self._paths)

    def __repr__(self) -> str:
        return f"Subset({self.version}, {len(self)} examples, {len(self.classes)} classes)"
