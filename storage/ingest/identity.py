"""Identity: an example's key where the user has none, made of its content."""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from storage.schemas import Feature
from storage.splits import row_hashes, words

_DIGEST_BYTES = 10


def content_keys(frame: pl.DataFrame, features: Sequence[Feature]) -> pl.Series:
    """A key for each row from its features and its label.

    The key is a BLAKE2b hash of the features in the order of their names (numbers, those of vectors too, as 64-bit
    floats, bytes of images as they are, texts as UTF-8 behind their length) and of the label's text. It does not depend
    on the order of columns or rows, on how the source is cut into blocks, or on a number's width.

    Args:
        frame: (N,) rows without nulls in these columns.
        features: the columns that a model may see.

    Returns:
        (N,) texts of 20 hexadecimal digits; exact twins have equal ones.
    """
    ordered = _by_name(features)
    fixed = [_fixed_bytes(frame[one.name]) for one in ordered if one.kind in ("number", "image", "vector")]
    texts = [frame[one.name] for one in ordered if one.kind in ("category", "text")]
    if "label" in frame:
        texts.append(frame["label"].cast(pl.String))
    parts = [_behind_lengths(column) for column in texts]
    if fixed:
        numbers = np.ascontiguousarray(np.hstack(fixed))
        parts.insert(0, numbers.view(f"V{numbers.shape[1]}").ravel().tolist())
    contents = map(b"".join, zip(*parts, strict=True))
    digests = [hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() for content in contents]
    return pl.Series("example_key", digests, dtype=pl.Binary).bin.encode("hex")


def feature_hashes(frame: pl.DataFrame, features: Sequence[Feature]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """(N,) hash of each row's features: equal for exact duplicates, whatever their labels."""
    return row_hashes((words(frame[one.name]) for one in _by_name(features)), len(frame))


def _by_name(features: Sequence[Feature]) -> list[Feature]:
    return sorted(features, key=lambda one: one.name)


def _behind_lengths(column: pl.Series) -> list[bytes]:
    """(N,) each text as UTF-8 behind its length; equal texts are made once."""
    made = {text: len(text.encode()).to_bytes(8, "little") + text.encode() for text in column.unique()}
    return [made[text] for text in column]


def _fixed_bytes(column: pl.Series) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """(N, W) the bytes of numbers, vectors or images."""
    if isinstance(column.dtype, pl.Array) and column.dtype.inner == pl.UInt8:
        return column.to_numpy()
    return words(column).astype("<u8").view(np.uint8).reshape(len(column), -1)
