"""Shingles: the runs of words or characters in a text, each as a 64-bit hash, for whole blocks of texts at once.

A shingle's hash is the mixed sum of its units' hashes, each mixed with its place, in arithmetic modulo 2^64; the
mixer is that of Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, in its
variant 13 by Stafford. https://doi.org/10.1145/2660193.2660195 Nothing depends on the machine or a library's version.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Unit = Literal["word", "char"]

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

_GOLDEN = 0x9E3779B97F4A7C15
_SPACE = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Shingles:
    """The shingles of N texts, one text after the other."""

    hashes: Hashes
    """(S,) hashes of all shingles, repeats included."""
    offsets: Offsets
    """(N + 1,) where each text's shingles begin; the last entry is S."""


def normalized(text: str) -> str:
    """The text in Unicode form NFKC, case folded, each run of white space as one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def mixed(values: Hashes) -> Hashes:
    """64-bit numbers, each mapped to another such that every bit depends on all bits; one to one."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def at_place(values: Hashes, place: int | Hashes) -> Hashes:
    """Hashes that depend on a value and on its place, counted from 0: to be summed into that of a sequence."""
    places = np.atleast_1d(np.asarray(place, dtype=np.uint64))
    return mixed(values + (places + np.uint64(1)) * np.uint64(_GOLDEN))


def check_shingle(unit: Unit, size: int) -> None:
    """Refuse an unknown unit or a size below 1."""
    if unit not in get_args(Unit):
        raise ValueError(f"unit must be one of {', '.join(get_args(Unit))}, got {unit!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")


def check_sizes(unit: Unit, sizes: Sequence[int]) -> None:
    """Refuse no size, a size that is named twice, and what `check_shingle` refuses."""
    if not sizes or len(set(sizes)) != len(sizes):
        raise ValueError(f"sizes must name at least one size and none twice, got {sizes}")
    for size in sizes:
        check_shingle(unit, size)


def shingles(texts: Sequence[str], unit: Unit, size: int) -> Shingles:
    """All runs of `size` units in each text.

    Args:
        texts: N texts as `normalized` leaves them: words are what single spaces part.
        unit: what a run is made of.
        size: units per shingle, at least 1.

    Returns:
        The shingles in the order of the texts. A text of fewer units has one, of all of them; an empty one has none.
    """
    units, offsets = _characters(texts) if unit == "char" else _words(texts)
    lengths = np.diff(offsets)
    left = np.repeat(offsets[1:], lengths) - np.arange(len(units))
    sums = np.zeros(len(units), dtype=np.uint64)
    for place in range(size):
        there = left[: max(0, len(units) - place)] > place
        sums[: len(there)] += np.where(there, at_place(units[place:], place), np.uint64(0))
    begins = left >= size
    begins[offsets[:-1][lengths > 0]] = True
    counts = np.where(lengths > 0, np.maximum(lengths - size + 1, 1), 0)
    return Shingles(hashes=mixed(sums[begins]), offsets=_cumulated(counts))


def _characters(texts: Sequence[str]) -> tuple[Hashes, Offsets]:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    return mixed(codes), _cumulated(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))


def _words(texts: Sequence[str]) -> tuple[Hashes, Offsets]:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    offsets = _cumulated(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))
    inside = codes != _SPACE
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    begins[offsets[:-1][np.diff(offsets) > 0]] = inside[offsets[:-1][np.diff(offsets) > 0]]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.zeros(0, dtype=np.uint64), np.zeros(len(texts) + 1, dtype=np.int64)
    word = np.cumsum(begins) - 1
    places = np.arange(len(codes)) - starts[np.maximum(word, 0)]
    letters = np.where(inside, at_place(codes, places.astype(np.uint64)), np.uint64(0))
    return mixed(np.add.reduceat(letters, starts)), np.searchsorted(starts, offsets).astype(np.int64)


def _cumulated(counts: Offsets) -> Offsets:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
