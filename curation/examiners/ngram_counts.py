"""N-gram counts: how often the n-grams of a text fall into each of a fixed number of buckets, by their hashes.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009, without signs, as Xie et al.,
"Data Selection for Language Models via Importance Resampling", NeurIPS 2023, https://arxiv.org/abs/2302.03169, use it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curation.examiner import Examiner, check_column, texts
from curation.ngram_buckets import bucket_counts, check_counting
from curation.shingles import Unit
from storage.index import ExampleIndex
from storage.values import Array


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
        check_counting(self.unit, self.sizes, self.num_buckets)

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Counts as 16-bit numbers.

        Raises:
            ValueError: a bucket counts more than they hold.
        """
        cells = texts(index, columns, self.column)
        return {"ngram_counts": bucket_counts(index, cells, self.unit, self.sizes, self.num_buckets)}
