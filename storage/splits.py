"""Splits: train, validation and test, drawn by a stable hash or taken from a column.

A drawn split depends on the seed and on the values of the features alone. So exact duplicates share a
split, a row keeps its split when the data set grows, and rows can stream. The realised shares vary by
chance around the fractions asked for; the data set's counts record them.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.schemas import SPLITS

SPELLINGS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
"""What a split column may hold, in any case, and the split each word stands for."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, odd


@dataclass(frozen=True, kw_only=True)
class SplitFractions:
    """Shares of the rows; they add up to 1."""

    train: float = 0.8
    """Share in [0, 1] that learners, scorers and selectors see."""
    validation: float = 0.1
    """Share in [0, 1] that choices are made on."""
    test: float = 0.1
    """Share in [0, 1] that is only reported on."""

    def __post_init__(self) -> None:
        for name in SPLITS:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, validation and test must add up to 1, got {total:g}")


def drawn_splits(hashes: NDArray[np.uint64], fractions: SplitFractions, seed: int) -> pl.Series:
    """A split for each row.

    Args:
        hashes: (N,) hash of each row's features, as `row_hashes` makes it.
        fractions: the shares to draw.
        seed: another seed draws other splits.

    Returns:
        (N,) `train`, `validation` or `test`.
    """
    salt = np.frombuffer(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), dtype="<u8")[0]
    uniform = _mixed(hashes ^ salt) / np.float64(2**64)
    edges = np.array([fractions.train, fractions.train + fractions.validation])
    codes = np.searchsorted(edges, uniform, side="right")
    if not fractions.test:
        codes = np.minimum(codes, 1 if fractions.validation else 0)
    return pl.Series("split", np.array(SPLITS, dtype=object)[codes], dtype=pl.String)


def spelled_splits(column: pl.Series) -> pl.Series:
    """The split that each value of a column stands for; null where it stands for none."""
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    return words.replace_strict(SPELLINGS, default=None, return_dtype=pl.String).alias("split")


def row_hashes(columns: Iterable[NDArray[np.uint64]], rows: int) -> NDArray[np.uint64]:
    """A hash of each row, the same on every platform and for every cut into blocks.

    Args:
        columns: (N,) or (N, W) words, as `words` makes them, always in the same order.
        rows: N.

    Returns:
        (N,) hashes; not safe against someone who looks for collisions.
    """
    state = np.full(rows, _MULTIPLIER, dtype=np.uint64)
    shifted = np.empty_like(state)
    for column in columns:
        for word in column.T if column.ndim == 2 else (column,):
            state ^= word
            state *= _MULTIPLIER
            np.right_shift(state, 32, out=shifted)
            state ^= shifted
    return _mixed(state)


def words(column: pl.Series) -> NDArray[np.uint64]:
    """A column without nulls as 64-bit words.

    Args:
        column: (N,) numbers, texts, arrays of W bytes, or arrays of W floats.

    Returns:
        (N,) bit patterns of numbers (equal for 2 and 2.0, 0.0 and -0.0) or hashes of texts; (N, ceil(W / 8))
        words of bytes, (N, W) bit patterns of arrays of floats.
    """
    if column.dtype == pl.String:
        return _text_words(column)
    if isinstance(column.dtype, pl.Array) and column.dtype.inner != pl.UInt8:
        return (column.to_numpy().astype(np.float64) + 0.0).view(np.uint64)
    if isinstance(column.dtype, pl.Array):
        pixels = column.to_numpy()
        padded = np.zeros((len(pixels), -(-pixels.shape[1] // 8) * 8), dtype=np.uint8)
        padded[:, : pixels.shape[1]] = pixels
        return padded.view("<u8")
    numbers = column.cast(pl.Float64).to_numpy() + 0.0  # turns -0.0 into 0.0
    return numbers.view(np.uint64)


def _text_words(column: pl.Series) -> NDArray[np.uint64]:
    if not len(column):
        return np.empty(0, dtype=np.uint64)
    texts = column.unique()
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    hashes = pl.Series(np.frombuffer(digests, dtype="<u8").astype(np.uint64))
    return column.replace_strict(texts, hashes, return_dtype=pl.UInt64).to_numpy()


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finishing steps of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit depends on every bit."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
