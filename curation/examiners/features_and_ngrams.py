"""Features and n-grams: an example's features as an embedding, and beside it the n-grams of its text.

For data sets whose text stays as metadata beside an embedding of it. The embedding is what `features` gives, the
counts are what `ngram_counts` gives: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML
2009, https://arxiv.org/abs/0902.2206, without signs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curation.examiner import INPUTS, Examiner, check_column, numbers, texts
from curation.feature_scale import check_scale, scaled
from curation.ngram_buckets import bucket_counts, check_counting
from curation.shingles import Unit
from storage.index import ExampleIndex
from storage.values import Array


@dataclass(frozen=True, kw_only=True)
class FeaturesAndNgrams(Examiner):
    """Give `embedding` (N, D), the flat features, and `ngram_counts` (N, num_buckets), 2 bytes an entry, of a text.

    Case, width of letters and white space of the text are disregarded.
    """

    gives: ClassVar[tuple[str, ...]] = ("embedding", "ngram_counts")

    column: str
    """Text column to count."""
    unit: Unit = "word"
    """What an n-gram is a run of: `word`, or `char` for languages that do not part words by spaces."""
    sizes: tuple[int, ...] = (1, 2)
    """Units in an n-gram, each at least 1 and named once."""
    num_buckets: int = 10_000
    """Buckets, at least 2."""
    mean: tuple[float, ...] = (0.0,)
    """Subtracted from features: one finite number for all, or one for each in their order."""
    scale: tuple[float, ...] = (1.0,)
    """Features are divided by it: one finite number above 0 for all, or one for each in their order."""

    def __post_init__(self) -> None:
        check_column(self.column)
        check_counting(self.unit, self.sizes, self.num_buckets)
        check_scale(self.mean, self.scale)

    @property
    def reads(self) -> tuple[str, ...]:
        """The column and the features."""
        return (self.column, INPUTS)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Embeddings in single precision, and counts as 16-bit numbers.

        Raises:
            ValueError: features leave the range of single precision, or a bucket counts more than 16 bits hold.
        """
        cells, flat = texts(index, columns, self.column), numbers(index, columns)
        return {
            "embedding": scaled(flat, self.mean, self.scale),
            "ngram_counts": bucket_counts(index, cells, self.unit, self.sizes, self.num_buckets),
        }
