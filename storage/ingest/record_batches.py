"""Record batches: what the formats that carry Arrow data share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa

from storage.errors import SourceError

_IMAGE_FIELDS = {"bytes", "path"}


def frame_of(batch: pa.RecordBatch) -> pl.DataFrame:
    """A batch as a frame; a structure of encoded bytes and path, as Hugging Face writes images, becomes the bytes.

    The path stays beside them as `<column>_path`.
    """
    frame = pl.from_arrow(pa.Table.from_batches([batch]))
    assert isinstance(frame, pl.DataFrame)
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Struct) and {field.name for field in dtype.fields} == _IMAGE_FIELDS:
            fields = frame[name].struct
            place = frame.get_column_index(name)
            frame = frame.drop(name).insert_column(place, fields.field("bytes").alias(name))
            frame = frame.insert_column(place + 1, fields.field("path").alias(f"{name}_path"))
    return frame


def types_of(schema: pa.Schema, path: Path) -> dict[str, pl.DataType]:
    """The columns and types that `frame_of` gives.

    Raises:
        SourceError: two columns have one name, or one has a type that cannot be read.
    """
    names = schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{path} has two columns named {twice!r}; rename one")
    if "" in names:
        raise SourceError(f"{path} has a column named ''; give it a printable name")
    empty = pa.RecordBatch.from_arrays([pa.array([], type=field.type) for field in schema], schema=schema)
    try:
        return dict(frame_of(empty).schema)
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise SourceError(f"{path} has a column of a type that cannot be read: {first_line(error)}") from error


def same_columns(found: Mapping[Path, Mapping[str, pl.DataType]]) -> dict[str, pl.DataType]:
    """The columns of several files, which all must have the same."""
    (first, columns), *others = found.items()
    for other, theirs in others:
        if theirs != columns:
            raise SourceError(f"{other} has other columns or types than {first}; read them apart or make them alike")
    return dict(columns)


@contextmanager
def undamaged(path: Path, rows: int, what: str) -> Iterator[None]:
    """Turns a reader's errors into one sentence: the file is not `what`, or it is damaged after so many rows."""
    try:
        yield
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
        where = f"is damaged after row {rows}" if rows else f"is not {what}, or it is damaged"
        raise SourceError(f"{path} {where}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
