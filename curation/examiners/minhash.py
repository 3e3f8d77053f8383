"""MinHash: a short signature of a text, in which the share of equal entries estimates Jaccard similarity.

Broder, "On the resemblance and containment of documents", SEQUENCES 1997.
https://doi.org/10.1109/SEQUEN.1997.666900

Differs from the paper: in place of random permutations the affine maps of the package datasketch
2 (scheme `affine32`), https://github.com/ekzhu/datasketch, with the same numbers for the same seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.examiner import Examiner, check_column, texts
from curation.shingles import Shingles, Unit, check_shingle, normalized, shingles
from storage.index import ExampleIndex
from storage.values import Array

TEXTS_AT_ONCE = 2048
"""Texts of which the shingles lie in a processor's cache together."""

Words = NDArray[np.uint32]


def affine_maps(num_hashes: int, seed: int) -> tuple[Words, Words]:
    """(P,) odd factors and (P,) terms of the maps h -> factor * h + term modulo 2^32, as datasketch 2 draws them."""
    rng = np.random.RandomState(seed)
    factors = rng.randint(0, 1 << 31, num_hashes, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, rng.randint(0, 1 << 32, num_hashes, dtype=np.uint32)


def signatures(hashes: Words, offsets: NDArray[np.int64], num_hashes: int, seed: int) -> Words:
    """For each text and map, the smallest value of that map over the text's shingles.

    Args:
        hashes: (S,) 32-bit hashes of all shingles, text after text.
        offsets: (N + 1,) where each text's begin.
        num_hashes: P, the entries of a signature.
        seed: chooses the maps, in [0, 2^32).

    Returns:
        (N, P) signatures; 2^32 - 1 throughout for a text without shingles.
    """
    factors, terms = affine_maps(num_hashes, seed)
    found = np.full((num_hashes, len(offsets) - 1), np.iinfo(np.uint32).max, dtype=np.uint32)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        block, starts = _scattered(hashes), offsets[filled]
        values = np.empty_like(block)
        for entry, (factor, term) in enumerate(zip(factors, terms, strict=True)):
            np.multiply(block, factor, out=values)
            np.add(values, term, out=values)
            found[entry, filled] = np.minimum.reduceat(values, starts)
    return np.ascontiguousarray(found.T)


def _scattered(hashes: Words) -> Words:
    """The finaliser of MurmurHash3 on 32 bits, which datasketch applies before its maps."""
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


@dataclass(frozen=True, kw_only=True)
class MinHash(Examiner):
    """Sign each text's set of shingles: `minhash` (N, num_hashes), for `near_duplicates`.

    Case, width of letters and white space are disregarded. A text shorter than a shingle has one, of all it holds.
    """

    gives: ClassVar[tuple[str, ...]] = ("minhash",)

    column: str
    """Text column to sign."""
    unit: Unit = "word"
    """What a shingle is a run of: `word`, or `char` for languages that do not part words by spaces."""
    size: int = 3
    """Units in a shingle, at least 1; longer ones tell texts apart that share their vocabulary."""
    num_hashes: int = 128
    """Entries of a signature, at least 2; the standard error of a similarity is at most 0.5 / sqrt(num_hashes)."""
    seed: int = 1
    """Chooses the hash functions, in [0, 2^32); datasketch's default."""

    def __post_init__(self) -> None:
        check_column(self.column)
        check_shingle(self.unit, self.size)
        if self.num_hashes < 2:
            raise ValueError(f"num_hashes must be at least 2, got {self.num_hashes}")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed must be in [0, 2^32), got {self.seed}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Signatures of 32-bit numbers."""
        cells = texts(index, columns, self.column)
        signed = np.empty((len(cells), self.num_hashes), dtype=np.uint32)
        for first in range(0, len(cells), TEXTS_AT_ONCE):
            block = [normalized(cell) for cell in cells[first : first + TEXTS_AT_ONCE]]
            found: Shingles = shingles(block, self.unit, self.size)
            hashes = (found.hashes >> np.uint64(32)).astype(np.uint32)
            signed[first : first + len(block)] = signatures(hashes, found.offsets, self.num_hashes, self.seed)
        return {"minhash": signed}
