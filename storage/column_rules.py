"""Column rules: what the contract demands of the values of one column."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

ColumnType = Literal["integer", "number", "text", "boolean"]

_TYPES: dict[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "text": pl.String(),
    "boolean": pl.Boolean(),
}


@dataclass(frozen=True, kw_only=True)
class ColumnRules:
    """Demands on one column; a null breaks none but `not_null`."""

    type: ColumnType | None = None
    """`integer`, `number`, `text` or `boolean`; decides how a text file's column is parsed."""
    minimum: float | None = None
    """Smallest value of a number that is allowed."""
    maximum: float | None = None
    """Largest value of a number that is allowed."""
    allowed: tuple[str | float, ...] = ()
    """Values that are allowed, compared by their text; empty allows all."""
    pattern: str | None = None
    """Regular expression that a whole text must match."""
    not_null: bool = False
    """Whether a null breaks the contract."""
    unique: bool = False
    """Whether every value may come once; of equal ones the first in the source's order is kept."""

    def __post_init__(self) -> None:
        if self.type is not None and self.type not in get_args(ColumnType):
            raise ValueError(f"type must be one of {', '.join(get_args(ColumnType))}, got {self.type!r}")
        for name in ("minimum", "maximum"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum must not be above maximum, got {self.minimum:g} and {self.maximum:g}")
        if self.pattern is not None:
            try:
                pl.Series([""]).str.contains(self.pattern)
            except pl.exceptions.PolarsError as error:
                reason = (str(error).splitlines() or [""])[-1]
                raise ValueError(f"pattern {self.pattern!r} is no regular expression: {reason}") from None
        if not self.names:
            raise ValueError("the contract names a column without a rule for it; give it one, such as not_null = true")

    @property
    def names(self) -> list[str]:
        """The rules that are set, in the order in which a row is held against them."""
        return [
            *(["not null"] if self.not_null else []),
            *(["type"] if self.type is not None else []),
            *(["range"] if self.minimum is not None or self.maximum is not None else []),
            *(["allowed"] if self.allowed else []),
            *(["pattern"] if self.pattern is not None else []),
            *(["unique"] if self.unique else []),
        ]

    @property
    def dtype(self) -> pl.DataType | None:
        """What a text file's column is parsed as; None leaves it to the values."""
        return None if self.type is None else _TYPES[self.type]

    def misfit(self, dtype: pl.DataType) -> str | None:
        """Why these rules have no meaning for a column of a type; None if they have.

        Args:
            dtype: the column's type, as the contract declares it or else the source does.
        """
        if dtype.is_nested() or dtype == pl.Binary:
            wanting = [name for name in self.names if name != "not null"]
            return f"{wanting[0]} has no meaning for {dtype}" if wanting else None
        if "range" in self.names and not (dtype.is_numeric() or dtype == pl.Null):
            return f"range is for numbers and the column is {dtype}; declare its type"
        if self.pattern is not None and dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
            return f"pattern is for text and the column is {dtype}"
        return None


def column_masks(column: pl.Series, rules: ColumnRules, texts: bool) -> Iterator[tuple[str, pl.Series]]:
    """Rules with the rows that break them, but for `unique`, which needs all rows.

    Args:
        column: (N,) values as the source has them.
        rules: the demands.
        texts: whether the source is text, so that a key that is a number is read as text.
    """
    filled = column.is_not_null()
    if rules.not_null:
        yield "not null", ~filled
    if rules.type is not None:
        yield "type", filled & ~_is_of(column, rules.type, texts)
    if "range" in rules.names:
        numbers = column.cast(pl.Float64, strict=False)
        lower = -math.inf if rules.minimum is None else rules.minimum
        upper = math.inf if rules.maximum is None else rules.maximum
        inside = numbers.is_between(lower, upper) & numbers.is_not_nan()
        yield "range", filled & ~inside.fill_null(value=False)
    if rules.allowed:
        yield "allowed", filled & ~_among(column, rules.allowed)
    if rules.pattern is not None:
        whole = column.cast(pl.String).str.contains(f"^(?:{rules.pattern})$")
        yield "pattern", filled & ~whole.fill_null(value=False)


def _is_of(column: pl.Series, kind: ColumnType, texts: bool) -> pl.Series:
    """Which values are of a kind."""
    dtype = column.dtype
    every, none = (pl.repeat(value, len(column), dtype=pl.Boolean, eager=True) for value in (True, False))
    if kind == "text":
        return every if dtype in (pl.String, pl.Categorical, pl.Enum) else none
    if kind == "boolean":
        known = column.cast(pl.String).str.to_lowercase().is_in(["true", "false"]) if texts else none
        return every if dtype == pl.Boolean else known
    if dtype == pl.String and texts:
        return column.cast(_TYPES[kind], strict=False).is_not_null()
    if not dtype.is_numeric():
        return none
    if kind == "integer" and dtype.is_float():
        return (column % 1 == 0).fill_null(value=False)
    return every


def _among(column: pl.Series, allowed: tuple[str | float, ...]) -> pl.Series:
    """Which values are allowed: numbers by value, others by text."""
    if column.dtype.is_numeric():
        numbers = [float(one) for one in allowed if not isinstance(one, str) or _is_number(one)]
        return column.cast(pl.Float64).is_in(numbers)
    return column.cast(pl.String).is_in([str(one) for one in allowed])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
