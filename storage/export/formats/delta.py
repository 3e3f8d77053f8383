"""Delta Lake: a table of one version, the card as JSON in its description.

Delta has no unsigned and no fixed-size types: unsigned numbers become the next larger signed ones, and an image
becomes its bytes, row by row; the shapes are in the card.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from storage.export.rows import ExportRows

IS_FILE = False
_SIGNED = {pl.UInt8: pl.Int16, pl.UInt16: pl.Int32, pl.UInt32: pl.Int64, pl.UInt64: pl.Decimal(20, 0)}


def write(rows: ExportRows, target: Path) -> int:
    """Write all rows; their number.

    Raises:
        ValueError: deltalake is not installed.
    """
    try:
        import deltalake
    except ImportError:
        raise ValueError("--to delta needs deltalake: pip install 'tamis[delta]'") from None
    schema = _converted(pl.DataFrame(schema=rows.schema), rows).schema
    written = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal written
        for block in rows.blocks():
            written += len(block)
            yield from _converted(block, rows).cast(schema).to_batches()

    deltalake.write_deltalake(
        str(target),
        pa.RecordBatchReader.from_batches(schema, batches()),
        name=str(rows.card["version"]),
        description=json.dumps(dict(rows.card)),
    )
    return written


def _converted(block: pl.DataFrame, rows: ExportRows) -> pa.Table:
    columns = []
    for name, dtype in block.schema.items():
        if name in rows.image_shapes:
            flat = np.asarray(block[name].to_numpy(), np.uint8).reshape(len(block), -1) if len(block) else ()
            columns.append(pl.Series(name, [image.tobytes() for image in flat], dtype=pl.Binary))
        else:
            columns.append(block[name].cast(_signed(dtype)))
    return pl.DataFrame(columns).to_arrow(compat_level=pl.CompatLevel.oldest())


def _signed(dtype: pl.DataType) -> pl.DataType:
    """The type that Delta has for a type."""
    if isinstance(dtype, (pl.List, pl.Array)):
        return pl.List(_signed(dtype.inner))  # type: ignore[arg-type]
    return next((signed for unsigned, signed in _SIGNED.items() if dtype == unsigned), dtype)  # type: ignore[return-value]
