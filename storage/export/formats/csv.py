"""CSV in UTF-8 with a header; lists, images among them, as JSON text, bytes in hexadecimal digits.

CSV has no place for a card: the name, version and types of the rows are not carried along.
"""

from pathlib import Path

import polars as pl

from storage.export.rows import ExportRows

IS_FILE = True


def write(rows: ExportRows, target: Path) -> int:
    """Write all rows; their number."""
    written = 0
    with target.open("wb") as stream:
        pl.DataFrame(schema=rows.schema).with_columns(_texts(rows)).write_csv(stream)
        for block in rows.blocks():
            block.with_columns(_texts(rows)).write_csv(stream, include_header=False)
            written += len(block)
    return written


def _texts(rows: ExportRows) -> list[pl.Expr]:
    """Columns that CSV cannot hold, as texts."""
    texts = []
    for name, dtype in rows.schema.items():
        if dtype.is_nested():
            wrapped = pl.struct(pl.col(name).alias("v")).struct.json_encode()
            text = wrapped.str.strip_prefix('{"v":').str.strip_suffix("}")
            texts.append(pl.when(pl.col(name).is_not_null()).then(text).alias(name))
        elif dtype == pl.Binary:
            texts.append(pl.col(name).bin.encode("hex"))
    return texts
