"""Number of tokens of a text, for budgets that are counted in tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.examiner import Examiner, check_column, texts
from curation.shingles import Unit, check_shingle
from storage.index import ExampleIndex
from storage.values import Array


@dataclass(frozen=True, kw_only=True)
class NumTokens(Examiner):
    """Count each text's words, as parted by white space, or its characters: `num_tokens` (N,)."""

    gives: ClassVar[tuple[str, ...]] = ("num_tokens",)

    column: str
    """Text column to count."""
    unit: Unit = "word"
    """`word`, or `char` (white space included) for languages that do not part words by spaces."""

    def __post_init__(self) -> None:
        check_column(self.column)
        check_shingle(self.unit, 1)

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Whole numbers, at least 0."""
        cells = texts(index, columns, self.column)
        counts = [len(cell) if self.unit == "char" else len(cell.split()) for cell in cells]
        return {"num_tokens": np.array(counts, dtype=np.int64)}
