"""Plain rows: pieces of delimited text that need no second look are parsed at once, straight to their types.

A piece is plain if it has no quote, no empty line and no lone carriage return, every line has as many cells as
the header, and every cell is null or fits its column. Of such a piece the quick parser makes the very values that
cell-by-cell reading would; of any other it makes none.
"""

import io
from collections.abc import Mapping

import numpy as np
import polars as pl

from storage.ingest.compressed import Opened

_NEWLINE = ord("\n")


class Pieces:
    """A file's bytes, handed out in pieces that end with a line, or as they come."""

    def __init__(self, stream: Opened | io.BytesIO) -> None:
        """Take over a stream."""
        self.closed = False
        self.tail = b""
        """The last bytes that were read from the stream."""
        self._stream, self._rest = stream, b""

    @property
    def waiting(self) -> bool:
        """Whether bytes were read from the stream that are not yet handed out."""
        return bool(self._rest)

    def read(self, count: int = -1) -> bytes:
        """The `count` next bytes, fewer at the end alone: Arrow takes a short piece without a line's end for an error.

        The name and the rest below are what Arrow asks of a file.
        """
        data, self._rest = self._rest[:count], self._rest[count:]
        while len(data) < count and (fresh := self._fresh(count - len(data))):
            data += fresh
        return data

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is left to do: who opened the stream closes it."""
        self.closed = True

    def lines(self, count: int) -> bytes:
        """Whole lines of about `count` bytes, the last of the file maybe without its end.

        Returns:
            Bytes; none at the end of the file, and none where a line is longer than `count`.
        """
        text = self._rest + self._fresh(max(count - len(self._rest), 0))
        fresh = text if len(text) < count else b""
        while fresh:
            fresh = self._fresh(count - len(text))
            text += fresh
        cut = text.rfind(b"\n", 0, count) + 1 if len(text) >= count else len(text)
        self._rest = text[cut:]
        return text[:cut]

    def put_back(self, text: bytes) -> None:
        """Hand these bytes out again before the others."""
        self._rest = text + self._rest

    def _fresh(self, count: int) -> bytes:
        data = self._stream.read(count) if count else b""
        self.tail = (self.tail + data[-4096:])[-4096:]
        return data


def plain_rows(text: bytes, types: Mapping[str, pl.DataType], delimiter: str) -> pl.DataFrame | None:
    """The rows of a piece of delimited text.

    Args:
        text: whole lines.
        types: text, whole number, number or truth value for each column, in the text's order.
        delimiter: what stands between cells.

    Returns:
        (N,) rows, or None if the piece is not plain.
    """
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if len(types) < 2 or b'"' in text or b"\r" in text:
        return None
    count = text.count(b"\n") + (not text.endswith(b"\n"))
    if not _is_straight(text, ord(delimiter), count, len(types)):
        return None
    try:
        frame = pl.read_csv(text, has_header=False, separator=delimiter, quote_char=None, schema=dict(types))
    except pl.exceptions.PolarsError:
        return None
    return frame if len(frame) == count else None


def _is_straight(text: bytes, delimiter: int, rows: int, columns: int) -> bool:
    """Whether every line has one delimiter fewer than there are columns."""
    signs = np.frombuffer(text, dtype=np.uint8)
    found = np.flatnonzero(signs == delimiter)
    if len(found) != rows * (columns - 1):
        return False
    ends = np.flatnonzero(signs == _NEWLINE)
    by_row = found.reshape(rows, columns - 1)
    return bool((by_row[: len(ends), -1] < ends).all() and (by_row[1:, 0] > ends[: rows - 1]).all())
