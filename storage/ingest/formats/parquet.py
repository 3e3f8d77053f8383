"""Parquet: one file, or all that a pattern names, read batch by batch with the types they declare."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import SourceError
from storage.ingest.source import Block, Header, existing_file, file_fingerprint, matching_files

BLOCK_BYTES = 64 << 20
"""Uncompressed bytes of a block, about."""
BLOCK_ROWS = 1 << 17
"""Most rows of a block."""

PLACE = "row"
"""What a place in this kind of source is called."""

fingerprint = file_fingerprint


def columns(location: str) -> Header:
    """The columns of the file, or of the first of several that all must have the same."""
    first, *others = _paths(location)
    header = _columns(first)
    for other in others:
        if _columns(other) != header:
            raise SourceError(f"{other} has other columns or types than {first}; read them apart or make them alike")
    return Header(columns=header)


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of rows, file by file; places are row numbers counted from 1 over all files."""
    paths = _paths(location)
    total = sum(_open(path).metadata.num_rows for path in paths)
    done = 0
    for path in paths:
        file = _open(path)
        groups = range(file.num_row_groups)
        size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        per_block = int(np.clip(BLOCK_BYTES * file.metadata.num_rows // max(size, 1), 1, BLOCK_ROWS))
        try:
            for batch in file.iter_batches(batch_size=per_block):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                rows = np.arange(done + 1, done + len(frame) + 1, dtype=np.int64)
                done += len(frame)
                yield Block(frame=frame.select(list(types)), rows=rows, fraction=done / total)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path} is damaged after row {done}: {_first_line(error)}") from error


def _paths(location: str) -> list[Path]:
    return matching_files(location) or [existing_file(location)]


def _columns(path: Path) -> dict[str, pl.DataType]:
    empty = pl.from_arrow(_open(path).schema_arrow.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return dict(empty.schema)


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is not a Parquet file, or it is damaged: {_first_line(error)}") from error
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{path} has two columns named {twice!r}; rename one")
    return file


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
