"""Damage: what libraries say of a Parquet file that is broken inside, as one sentence that says where to look."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa

from storage.errors import CorruptError

_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException)
"""What Polars and pyarrow raise when they meet bytes that no writer wrote, column names among them."""


def printable(text: str) -> str:
    """A library's words without the stray bytes that it quotes."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


@contextmanager
def damage_told(what: str) -> Iterator[None]:
    """Turn the error of a library that met broken bytes inside the block into one of tamis.

    Args:
        what: what is read inside the block, such as an artifact's id.

    Raises:
        CorruptError: a file cannot be read.
    """
    try:
        yield
    except _BROKEN as error:
        told = printable((str(error).splitlines() or [""])[0])
        raise CorruptError(f"{what} cannot be read: {told}; `tamis fsck` says what to do") from error
