"""Parquet: one file, or all that a pattern or a directory names, read batch by batch with the types they declare.

Checksums of pages are verified where the writer left them; most leave none, and then a damaged value may be read.
A column of encoded images (JPEG, PNG) is binary, or a structure of `bytes` and `path` as Hugging Face writes it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import SourceError
from storage.ingest.location import short_names, source_files
from storage.ingest.record_batches import first_line, frame_of, same_columns, types_of
from storage.ingest.source import Block, Header, file_fingerprint

BLOCK_BYTES = 64 << 20
"""Uncompressed bytes of a block, about."""
BLOCK_ROWS = 1 << 17
"""Most rows of a block."""

PLACE = "row"
"""What a place in this kind of source is called."""


def columns(location: str) -> Header:
    """The columns of the file, or of the first of several that all must have the same."""
    paths = source_files(location, "parquet")
    return Header(columns=same_columns({path: types_of(_open(path).schema_arrow, path) for path in paths}))


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of rows, file by file; places are row numbers counted from 1 over all files."""
    paths = source_files(location, "parquet")
    total = sum(_open(path).metadata.num_rows for path in paths)
    done = 0
    for path, name in zip(paths, short_names(paths), strict=True):
        file, before = _open(path), done
        groups = range(file.num_row_groups)
        size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        per_block = int(np.clip(BLOCK_BYTES * file.metadata.num_rows // max(size, 1), 1, BLOCK_ROWS))
        try:
            for batch in file.iter_batches(batch_size=per_block):
                frame = frame_of(batch).select(list(types))
                rows = np.arange(done + 1, done + len(frame) + 1, dtype=np.int64)
                done += len(frame)
                yield Block(frame=frame, rows=rows, fraction=done / total, file=name, before=before)
        except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
            raise SourceError(f"{path} is damaged after row {done - before}: {first_line(error)}") from error


def fingerprint(location: str) -> str:
    """SHA-256 of the files' bytes."""
    return file_fingerprint(location, "parquet")


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is not a Parquet file, or it is damaged: {first_line(error)}") from error
