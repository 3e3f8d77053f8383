"""Arrow IPC: files (also called Feather version 2) and streams, read batch by batch with the types they declare."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from storage.ingest.location import short_names, source_files
from storage.ingest.record_batches import frame_of, same_columns, types_of, undamaged
from storage.ingest.source import Block, Header, file_fingerprint

BLOCK_ROWS = 1 << 16
"""Most rows of a block; longer batches are cut."""

PLACE = "row"
"""What a place in this kind of source is called."""

_WHAT = "an Arrow IPC file or stream"
_MAGIC = b"ARROW1"


def columns(location: str) -> Header:
    """The columns of the file, or of the first of several that all must have the same."""
    found = {path: types_of(batch_schema(path), path) for path in source_files(location, "arrow")}
    return Header(columns=same_columns(found))


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of rows, file by file; places are row numbers counted from 1 over all files."""
    return read_files(source_files(location, "arrow"), types)


def fingerprint(location: str) -> str:
    """SHA-256 of the files' bytes."""
    return file_fingerprint(location, "arrow")


def batch_schema(path: Path) -> pa.Schema:
    """The schema of one file or stream."""
    with undamaged(path, 0, _WHAT), _batches(path) as (schema, _):
        return schema


def read_files(paths: list[Path], types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of the rows of several files that have the same columns."""
    sizes = [max(path.stat().st_size, 1) for path in paths]
    done, rows_before = 0, 0
    for path, name, size in zip(paths, short_names(paths), sizes, strict=True):
        row = rows_before
        for batch, share in _pieces(path):
            rows = np.arange(row + 1, row + batch.num_rows + 1, dtype=np.int64)
            row += batch.num_rows
            with undamaged(path, row - rows_before, _WHAT):
                frame = frame_of(batch).select(list(types))
            fraction = (done + size * share) / sum(sizes)
            yield Block(frame=frame, rows=rows, fraction=min(fraction, 1.0), file=name, before=rows_before)
        done, rows_before = done + size, row


def _pieces(path: Path) -> Iterator[tuple[pa.RecordBatch, float]]:
    """Checked batches of at most `BLOCK_ROWS` rows, each with the share of the file read so far."""
    rows = 0
    with _batches(path) as (_, batches):
        while True:
            with undamaged(path, rows, _WHAT):
                batch, share = next(batches, (None, 1.0))
                if batch is None:
                    return
                batch.validate(full=True)
            for start in range(0, batch.num_rows, BLOCK_ROWS):
                yield batch.slice(start, BLOCK_ROWS), share
            rows += batch.num_rows


@contextmanager
def _batches(path: Path) -> Iterator[tuple[pa.Schema, Iterator[tuple[pa.RecordBatch, float]]]]:
    """The schema, and the batches each with the share of the file read so far."""
    with undamaged(path, 0, _WHAT):
        file = pa.memory_map(str(path))
    with file:
        with undamaged(path, 0, _WHAT):
            is_file = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
        if is_file:
            count = reader.num_record_batches
            yield reader.schema, ((reader.get_batch(place), (place + 1) / count) for place in range(count))
        else:
            size = max(path.stat().st_size, 1)
            yield reader.schema, ((batch, file.tell() / size) for batch in reader)
