"""N-gram counts: how often the n-grams of a text fall into each of a fixed number of buckets, by their hashes.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009, without signs, as Xie et al.,
"Data Selection for Language Models via Importance Resampling", NeurIPS 2023, https://arxiv.org/abs/2302.03169, use it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.examiner import Examiner, check_column, texts
from curation.shingles import Unit, check_sizes, normalized, shingles
from storage.index import ExampleIndex
from storage.values import Array

TEXTS_AT_ONCE = 1024
"""Texts that are counted together."""
MOST = np.iinfo(np.uint16).max


@dataclass(frozen=True, kw_only=True)
class NgramCounts(Examiner):
    """Count each text's n-grams by bucket: `ngram_counts` (N, num_buckets), 2 bytes an entry.

    Case, width of letters and white space are disregarded.
    """

    gives: ClassVar[tuple[str, ...]] = ("ngram_counts",)

    column: str
    """Text column to count."""
    unit: Unit = "word"
    """What an n-gram is a run of: `word`, or `char` for languages that do not part words by spaces."""
    sizes: tuple[int, ...] = (1, 2)
    """Units in an n-gram, each at least 1 and named once; words and pairs in the paper."""
    num_buckets: int = 10_000
    """Buckets, at least 2; 10,000 in the paper."""

    def __post_init__(self) -> None:
        check_column(self.column)
        check_sizes(self.unit, self.sizes)
        if self.num_buckets < 2:
            raise ValueError(f"num_buckets must be at least 2, got {self.num_buckets}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Counts as 16-bit numbers.

        Raises:
            ValueError: a bucket counts more than they hold.
        """
        cells = [normalized(cell) for cell in texts(index, columns, self.column)]
        counts = np.zeros((len(cells), self.num_buckets), dtype=np.uint16)
        for first in range(0, len(cells), TEXTS_AT_ONCE):
            block = cells[first : first + TEXTS_AT_ONCE]
            sums = np.zeros(len(block) * self.num_buckets, dtype=np.int64)
            for size in self.sizes:
                found = shingles(block, self.unit, size)
                rows = np.repeat(np.arange(len(block)), np.diff(found.offsets))
                buckets = (found.hashes % np.uint64(self.num_buckets)).astype(np.int64)
                sums += np.bincount(rows * self.num_buckets + buckets, minlength=len(sums))
            if len(sums) and sums.max() > MOST:
                broken = index[first + int(sums.argmax()) // self.num_buckets]
                raise ValueError(f"{broken!r} has {sums.max()} n-grams in one bucket, above {MOST}; part such a text")
            counts[first : first + len(block)] = sums.reshape(len(block), self.num_buckets)
        return {"ngram_counts": counts}
