"""Plain lines: pieces of JSONL whose rows all look alike are parsed at once, straight to their types.

A piece is plain if every line is an object that has each column once, in any order, never null and of its
column's kind, with nothing else in it and no backslash; a column of text may hold whole numbers only. That follows
from counts: with no backslash every quote begins or ends a key or a text; where every column has a value in every
row, the rows have all their keys; as many `":` as cells leave no room for a further key; and as many quotes as these
keys and the texts need leave no cell of text that is anything else. Of a plain piece the quick parser makes
the very values that reading line by line would.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl

_QUOTE, _COLON, _SPACE = ord('"'), ord(":"), ord(" ")


def plain_lines(text: bytes, types: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    """The rows of a piece of JSONL.

    Args:
        text: whole lines, without a byte order mark.
        types: text, whole number, number or truth value for each column.

    Returns:
        (N,) rows, one for each line, or None if the piece is not plain.
    """
    if b"\\" in text:
        return None
    rows = text.count(b"\n") + (not text.endswith(b"\n"))
    found = _types_found(text, types)
    texts = [name for name, dtype in found.items() if dtype == pl.String]
    signs = np.frombuffer(text, dtype=np.uint8)
    quotes = signs == _QUOTE
    if int(np.count_nonzero(quotes)) != 2 * rows * (len(types) + len(texts)):
        return None
    behind = signs[1:]
    if (quotes[:-1] & (behind <= _SPACE)).any():
        return None
    if int(np.count_nonzero(quotes[:-1] & (behind == _COLON))) != rows * len(types):
        return None
    try:
        frame = pl.read_ndjson(text, schema=found)
    except pl.exceptions.PolarsError:
        return None
    whole = len(frame) == rows and not any(column.null_count() for column in frame)
    nested = any(frame[name].str.starts_with("[").any() or frame[name].str.starts_with("{").any() for name in texts)
    return frame.cast(pl.Schema(types)) if whole and not nested else None


def _types_found(text: bytes, types: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The types, but whole numbers for columns of text that begin with one, such as keys."""
    first = _first_row(text)
    wholes = {name for name, dtype in types.items() if dtype == pl.String and type(first.get(name)) is int}
    return {name: pl.Int64() if name in wholes else dtype for name, dtype in types.items()}


def _first_row(text: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(text[: text.find(b"\n") + 1 or len(text)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}
