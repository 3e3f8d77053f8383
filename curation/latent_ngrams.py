"""Latent n-grams: an embedding of texts by their weighted n-grams in few dimensions, fitted on texts alone.

N-grams are counted in buckets by their hashes, as Weinberger et al., "Feature Hashing for Large Scale Multitask
Learning", ICML 2009, https://arxiv.org/abs/0902.2206, do without signs, weighted as in `ngram_space`, and projected
as in `latent_space`. What was fitted is kept, so that later texts go through the same map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.examiner import check_column
from curation.ranks import by_id
from curation.shingles import Unit, check_sizes, normalized, shingles

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from curation.latent_space import LatentSpace

TEXTS_AT_ONCE = 4096
"""Texts that are counted and projected together."""


@dataclass(frozen=True, kw_only=True)
class LatentNgrams:
    """Embed each text in a space that some texts span: (N, num_dimensions) of length 1, or zeros without n-grams.

    Case, width of letters and white space are disregarded.
    """

    revision: ClassVar[int] = 1

    column: str
    """Text column to embed."""
    unit: Unit = "word"
    """What an n-gram is a run of: `word`, or `char` for languages that do not part words by spaces."""
    sizes: tuple[int, ...] = (1,)
    """Units in an n-gram, each at least 1 and named once."""
    num_buckets: int = 32_768
    """Buckets, at least 2."""
    num_dimensions: int = 256
    """Length of the embedding, at least 1 and below the number of buckets; less where there are fewer texts."""
    most_fitted: int = 20_000
    """Texts on which weights and directions are found at most, at least 1; of more, so many are drawn."""
    seed: int = 0
    """Chooses the texts that are drawn and the randomised decomposition, at least 0 and below 2**32."""

    def __post_init__(self) -> None:
        check_column(self.column)
        check_sizes(self.unit, self.sizes)
        for name, value, least in (
            ("num_buckets", self.num_buckets, 2),
            ("num_dimensions", self.num_dimensions, 1),
            ("most_fitted", self.most_fitted, 1),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2**32, got {self.seed}")
        if self.num_dimensions >= self.num_buckets:
            raise ValueError(f"num_dimensions must be below num_buckets {self.num_buckets}, got {self.num_dimensions}")

    def drawn(self, ids: pl.Series) -> pl.Series:
        """Ids of the texts to fit on, in their own order whatever that of the rows."""
        ordered = ids.gather(by_id(ids))
        chosen = np.random.default_rng(self.seed).permutation(len(ordered))[: self.most_fitted]
        return ordered.gather(np.sort(chosen))

    def fitted(self, texts: Sequence[str]) -> "LatentSpace":
        """The space that some texts span.

        Args:
            texts: at least one, in an order of which the last digits may depend.

        Raises:
            ValueError: none of them has an n-gram.
        """
        from curation.latent_space import fitted_space
        from curation.ngram_space import rarity_of, weighed

        counts = self._counts(texts)
        if not counts.nnz:
            raise ValueError(f"none of the {len(texts)} texts to fit on has an n-gram; see column {self.column!r}")
        having = np.bincount(counts.indices, minlength=self.num_buckets)
        rarity = rarity_of(having, len(texts))
        return fitted_space(weighed(counts, rarity), rarity, self.num_dimensions, self.seed)

    def embedded(self, texts: Sequence[str], space: "LatentSpace") -> NDArray[np.float32]:
        """(N, D) embeddings, each of its text alone."""
        from curation.ngram_space import weighed

        embedding = np.zeros((len(texts), len(space.directions)), dtype=np.float32)
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            vectors = weighed(self._counts(texts[first : first + TEXTS_AT_ONCE]), space.rarity)
            found = space.coordinates(vectors).astype(np.float64)
            lengths = np.sqrt(np.square(found).sum(axis=1, keepdims=True))
            embedding[first : first + len(found)] = found / np.where(lengths > 0, lengths, 1.0)
        return embedding

    def _counts(self, texts: Sequence[str]) -> "csr_array":
        """(N, num_buckets) how often the n-grams of each text fall into each bucket."""
        from scipy.sparse import csr_array

        cells = [normalized(text) for text in texts]
        parts = [np.zeros(0, dtype=np.int64)]
        for size in self.sizes:
            found = shingles(cells, self.unit, size)
            rows = np.repeat(np.arange(len(cells)), np.diff(found.offsets))
            parts.append(rows * self.num_buckets + (found.hashes % np.uint64(self.num_buckets)).astype(np.int64))
        places, counts = np.unique(np.concatenate(parts), return_counts=True)
        rows, buckets = np.divmod(places, self.num_buckets)
        begins = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(cells)))])
        return csr_array((counts, buckets, begins), shape=(len(cells), self.num_buckets))
