"""Hashed n-grams: an embedding of a text that needs no weights and no vocabulary.

The counts of a text's n-grams are projected to few dimensions by a sparse random matrix of signs, whose rows
follow from the n-grams' hashes: Kane, Nelson, "Sparser Johnson-Lindenstrauss Transforms", Journal
of the ACM 61, 2014. https://doi.org/10.1145/2559902 It is never written out, as in Weinberger et al.,
"Feature Hashing for Large Scale Multitask Learning", ICML 2009. https://arxiv.org/abs/0902.2206

Differs from the papers: the signs' places in a row are drawn with repetition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.examiner import Examiner, check_column, texts
from curation.shingles import Shingles, Unit, at_place, check_sizes, mixed, normalized, shingles
from storage.index import ExampleIndex
from storage.values import Array

TEXTS_AT_ONCE = 4096
"""Texts whose projections are summed in double precision together."""


def projected(found: Shingles, num_dimensions: int, num_signs: int, seed: int) -> NDArray[np.float64]:
    """Sums over each text's shingles of a random sign vector that belongs to the shingle.

    Args:
        found: shingles of N texts.
        num_dimensions: D, length of the vectors.
        num_signs: entries of +1 or -1 in each, the others being 0; one that is drawn twice adds up.
        seed: chooses the vectors, at least 0.

    Returns:
        (N, D) whole numbers: dot products are, on average over seeds, `num_signs` times those of the counts.
    """
    num_texts = len(found.offsets) - 1
    rows = np.repeat(np.arange(num_texts), np.diff(found.offsets))
    seeded = mixed(found.hashes ^ mixed(np.array([seed], dtype=np.uint64)))
    sums = np.zeros(num_texts * num_dimensions)
    for place in range(num_signs):
        drawn = at_place(seeded, place)
        signs = 1.0 - 2.0 * (drawn & np.uint64(1)).astype(np.float64)
        entries = ((drawn >> np.uint64(1)) % np.uint64(num_dimensions)).astype(np.int64)
        sums += np.bincount(rows * num_dimensions + entries, weights=signs, minlength=len(sums))
    return sums.reshape(num_texts, num_dimensions)


@dataclass(frozen=True, kw_only=True)
class HashedNgrams(Examiner):
    """Embed each text by its n-grams: `embedding` (N, num_dimensions) of length 1, near for texts that share many.

    Case, width of letters and white space are disregarded. A text without any unit is the zero vector.
    """

    gives: ClassVar[tuple[str, ...]] = ("embedding",)

    column: str
    """Text column to embed."""
    unit: Unit = "word"
    """What an n-gram is a run of: `word`, or `char` for languages that do not part words by spaces."""
    sizes: tuple[int, ...] = (1, 2)
    """Units in an n-gram, each at least 1 and named once."""
    num_dimensions: int = 256
    """D, at least 2; the error of a cosine is about 1 / sqrt(D)."""
    num_signs: int = 4
    """Entries of an n-gram's random vector that are not 0, at least 1; more of them part rare n-grams better."""
    seed: int = 0
    """Chooses the projection, at least 0."""

    def __post_init__(self) -> None:
        check_column(self.column)
        check_sizes(self.unit, self.sizes)
        for name, value, least in (
            ("num_dimensions", self.num_dimensions, 2),
            ("num_signs", self.num_signs, 1),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Embeddings in single precision."""
        cells = [normalized(cell) for cell in texts(index, columns, self.column)]
        embedding = np.empty((len(cells), self.num_dimensions), dtype=np.float32)
        for first in range(0, len(cells), TEXTS_AT_ONCE):
            block = cells[first : first + TEXTS_AT_ONCE]
            sums = np.zeros((len(block), self.num_dimensions))
            for size in self.sizes:
                sums += projected(shingles(block, self.unit, size), self.num_dimensions, self.num_signs, self.seed)
            lengths = np.sqrt(np.square(sums).sum(axis=1, keepdims=True))
            embedding[first : first + len(block)] = sums / np.where(lengths > 0, lengths, 1.0)
        return {"embedding": embedding}
