"""Parquet: one file, columns as they are stored, the card as JSON under the key `tamis` of its metadata.

Images are fixed-size lists of bytes, row by row; their shapes are in the card.
"""

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from storage.export.rows import ExportRows

IS_FILE = True


def write(rows: ExportRows, target: Path) -> int:
    """Write all rows; their number."""
    schema = pl.DataFrame(schema=rows.schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    schema = schema.with_metadata({**(schema.metadata or {}), b"tamis": json.dumps(rows.card).encode()})
    written = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for block in rows.blocks():
            writer.write_table(block.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema))
            written += len(block)
    return written
