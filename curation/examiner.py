"""Examiner: turns examples into signals, each row from itself alone, where no learner is needed.

What a learner records in training an examiner computes from the examples themselves: hashes, signatures,
embeddings. Because no row looks at another, rows that are appended never touch the signals of earlier ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from storage.index import ExampleIndex
from storage.values import Array

INPUTS = "inputs"
"""What `reads` calls the features as numbers: (N, ...) as in `Examples.inputs`; no column can be meant by it."""


class Examiner(ABC):
    """A frozen dataclass of settings that maps a block of rows to signals and does nothing else.

    The file name of an implementation is its name in recipes.
    """

    gives: ClassVar[tuple[str, ...]]
    """Signals that it computes."""
    revision: ClassVar[int] = 1
    """Raised whenever the method's numbers change: stored signals of older revisions are not reused."""

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns it needs: names of text columns as ingested, or `inputs`, the features as numbers."""

    @abstractmethod
    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Signals of one block of rows.

        Args:
            index: N examples, for messages alone.
            columns: what `reads` names: a text column as (N,) strings, `inputs` as (N, ...) numbers.

        Returns:
            An (N, ...) array for each name in `gives`. However the rows are cut into blocks, each has the same bits.

        Raises:
            ValueError: a cell cannot be read; the message counts the examples and names the first.
        """


def check_column(column: str) -> None:
    """Refuse a text column whose name is empty or stands for the features."""
    if column in ("", INPUTS):
        raise ValueError(f"column must name a text column, got {column!r}, which stands for none")


def texts(index: ExampleIndex, columns: Mapping[str, Array], column: str) -> list[str]:
    """The N texts of a column.

    Raises:
        ValueError: the column was not handed over, or a cell is null or no text.
    """
    cells: list[str] = _column(columns, column).tolist()
    _refuse(index, column, "no text", np.array([not isinstance(cell, str) for cell in cells], dtype=np.bool_))
    return cells


def numbers(index: ExampleIndex, columns: Mapping[str, Array]) -> Array:
    """The features flattened to (N, D), in their own type.

    Raises:
        ValueError: the features were not handed over, are no numbers, or hold NaN or infinity.
    """
    inputs = _column(columns, INPUTS)
    if not (np.issubdtype(inputs.dtype, np.number) or inputs.dtype == np.bool_):
        raise ValueError(f"the features must be numbers, got {inputs.dtype}")
    flat = inputs.reshape(len(inputs), int(np.prod(inputs.shape[1:])))
    finite = np.isfinite(flat)
    _refuse(index, INPUTS, "not finite", np.logical_not(finite.all(axis=1)))
    return flat


def _column(columns: Mapping[str, Array], name: str) -> Array:
    if name not in columns:
        raise ValueError(f"column {name!r} was not handed over; there are {', '.join(sorted(columns)) or 'none'}")
    return columns[name]


def _refuse(index: ExampleIndex, column: str, what: str, broken: Array) -> None:
    places = np.flatnonzero(broken)
    if len(places):
        raise ValueError(
            f"column {column!r} is {what} for {len(places)} of {len(index)} examples (first: {index[int(places[0])]!r})"
        )
