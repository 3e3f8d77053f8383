"""Content hash: 128 bits that are equal where the content is equal, for finding exact duplicates.

BLAKE2b: Aumasson, Neves, Wilcox-O'Hearn, Winnerlein, "BLAKE2: simpler, smaller, fast as MD5", ACNS
2013. https://www.blake2.net Two different contents out of 10^9 collide with a chance of about 10^-21.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.examiner import INPUTS, Examiner, check_column, numbers, texts
from curation.shingles import normalized
from storage.index import ExampleIndex
from storage.values import Array

Form = Literal["exact", "normalized"]


def content_hashes(contents: Iterable[bytes]) -> NDArray[np.uint64]:
    """(N, 2) first 128 bits of the BLAKE2b digest of each content, as two little-endian numbers."""
    digests = b"".join([blake2b(content, digest_size=16).digest() for content in contents])
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2).astype(np.uint64)


@dataclass(frozen=True, kw_only=True)
class ContentHash(Examiner):
    """Hash each example's features, or one of its text columns, to `content_hash` (N, 2)."""

    gives: ClassVar[tuple[str, ...]] = ("content_hash",)

    column: str | None = None
    """Text column to hash; None hashes the features as numbers, in their own type (0.0 and -0.0 count as equal)."""
    form: Form = "exact"
    """`normalized` hashes a text without regard to case, width of letters and white space; only with a column."""

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {self.form!r}")
        if self.column is not None:
            check_column(self.column)
        elif self.form != "exact":
            raise ValueError(f"form {self.form!r} has no effect on features; name a text column in 'column'")

    @property
    def reads(self) -> tuple[str, ...]:
        """The column, or the features."""
        return (self.column or INPUTS,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Equal rows for equal contents."""
        if self.column is None:
            flat = numbers(index, columns)
            flat = np.ascontiguousarray(flat + 0.0 if np.issubdtype(flat.dtype, np.floating) else flat)
            return {"content_hash": content_hashes(row.tobytes() for row in flat)}
        cells = texts(index, columns, self.column)
        if self.form == "normalized":
            cells = [normalized(cell) for cell in cells]
        return {"content_hash": content_hashes(cell.encode("utf-8", "surrogatepass") for cell in cells)}
