"""Parquet: one file, read batch by batch with the types it declares."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import SourceError
from storage.ingest.source import Block, Header, existing_file, file_fingerprint

BLOCK_BYTES = 64 << 20
"""Uncompressed bytes of a block, about."""
BLOCK_ROWS = 1 << 17
"""Most rows of a block."""

PLACE = "row"
"""What a place in this kind of source is called."""

fingerprint = file_fingerprint


def columns(location: str) -> Header:
    """The file's columns."""
    empty = pl.from_arrow(_open(location).schema_arrow.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return Header(columns=dict(empty.schema))


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of rows; places are row numbers counted from 1."""
    file = _open(location)
    total, done = file.metadata.num_rows, 0
    groups = range(file.num_row_groups)
    size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    per_block = int(np.clip(BLOCK_BYTES * total // max(size, 1), 1, BLOCK_ROWS))
    try:
        for batch in file.iter_batches(batch_size=per_block):
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)
            rows = np.arange(done + 1, done + len(frame) + 1, dtype=np.int64)
            done += len(frame)
            yield Block(frame=frame.select(list(types)), rows=rows, fraction=done / total)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{location} is damaged after row {done}: {_first_line(error)}") from error


def _open(location: str) -> pq.ParquetFile:
    path = existing_file(location)
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{location} is not a Parquet file, or it is damaged: {_first_line(error)}") from error
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{location} has two columns named {twice!r}; rename one")
    return file


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
