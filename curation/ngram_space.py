"""N-gram space: counts of n-grams as weighted vectors, and few dimensions that keep most of what tells texts apart.

A count c weighs (1 + ln c) * (1 + ln((1 + N) / (1 + n))) where n of N documents have the n-gram, and each row gets
length 1: Manning, Raghavan, Schütze, "Introduction to Information Retrieval", 2008, chapter 6,
https://nlp.stanford.edu/IR-book The few dimensions are latent semantic analysis: Deerwester et al., "Indexing by Latent
Semantic Analysis", Journal of the American Society for Information Science 41, 1990,
https://doi.org/10.1002/(SICI)1097-4571(199009)41:6%3C391::AID-ASI1%3E3.0.CO;2-9 Both are fitted on documents alone.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.special import expit

from curation.linear_classifier import fit
from storage.values import Array, Signals

Rows = NDArray[np.int64]
Reals = NDArray[np.float64]

ROWS_AT_ONCE = 512
"""Rows whose counts are read together."""


def counts_of(signals: Signals) -> Array:
    """Signal `ngram_counts` (N, B), checked.

    Raises:
        ValueError: it was not given, has another shape or type.
    """
    counts = signals["ngram_counts"]
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.unsignedinteger):
        raise ValueError(
            f"signal 'ngram_counts' must be (N, B) of unsigned integers, got {counts.shape} of {counts.dtype}"
        )
    return counts


def check_buckets(counts: Array, fitted: Array) -> None:
    """Refuse counts of another number of buckets than there was before."""
    if counts.shape[1] != len(fitted):
        raise ValueError(f"signal 'ngram_counts' has {counts.shape[1]} buckets, but there were {len(fitted)} before")


def rarity(counts: Array, documents: Rows) -> Reals:
    """(B,) 1 + ln((1 + N) / (1 + n)) of each bucket, where n of the N documents count it at least once."""
    having = np.zeros(counts.shape[1], dtype=np.int64)
    for first in range(0, len(documents), ROWS_AT_ONCE):
        having += np.count_nonzero(counts[documents[first : first + ROWS_AT_ONCE]], axis=0)
    weights: Reals = 1.0 + np.log((1 + len(documents)) / (1 + having))
    return weights


def weighted(counts: Array, rows: Rows, rare: Reals) -> csr_array:
    """(M, B) weighted vectors of some rows, of length 1 but for rows without n-grams; each from itself alone.

    Args:
        counts: (N, B) counts.
        rows: (M,) rows wanted.
        rare: (B,) what `rarity` gave.
    """
    parts = [csr_array((0, counts.shape[1]), dtype=np.float64)]
    for first in range(0, len(rows), ROWS_AT_ONCE):
        block = csr_array(counts[rows[first : first + ROWS_AT_ONCE]].astype(np.float64))
        block.data = (1.0 + np.log(block.data)) * rare[block.indices]
        lengths = np.sqrt(np.array([np.square(one).sum() for one in np.split(block.data, block.indptr[1:-1])]))
        block.data /= np.repeat(lengths, np.diff(block.indptr))
        parts.append(block)
    return csr_array(vstack(parts))


def reduced(vectors: csr_array, num_fitted: int, num_dimensions: int, seed: int) -> NDArray[np.float32]:
    """(M, D) coordinates of weighted vectors along the main directions of the first of them.

    Args:
        vectors: (M, B) weighted vectors.
        num_fitted: how many of them, from the first, the directions are found on.
        num_dimensions: D, in [1, B); fewer come out where fewer are fitted.
        seed: of the randomised decomposition, at least 0.
    """
    if num_dimensions >= vectors.shape[1]:
        raise ValueError(f"num_dimensions must be below the {vectors.shape[1]} buckets counted, got {num_dimensions}")
    from sklearn.decomposition import TruncatedSVD

    decomposition = TruncatedSVD(num_dimensions, random_state=seed).fit(vectors[:num_fitted])
    coordinates: NDArray[np.float32] = (vectors @ decomposition.components_.T).astype(np.float32)
    return coordinates


def classifier(counts: Array, rows: Rows, belongs: NDArray[np.bool_], rare: Reals, penalty: float) -> dict[str, Reals]:
    """A linear model on weighted vectors that tells some rows from the others, with the weights it needs.

    Args:
        counts: (N, B) counts.
        rows: (M,) rows to fit on.
        belongs: (M,) which of them are to be recognised.
        rare: (B,) what `rarity` gave.
        penalty: as in `linear_classifier.fit`.
    """
    return {**fit(weighted(counts, rows, rare), belongs, penalty), "rarity": rare}


def likelihood(counts: Array, fitted: Mapping[str, Array]) -> Reals:
    """(N,) probability in [0, 1] that each row belongs, by what `classifier` returned; each from itself alone."""
    shares = np.empty(len(counts))
    for first in range(0, len(counts), ROWS_AT_ONCE):
        rows = np.arange(first, min(first + ROWS_AT_ONCE, len(counts)))
        margins = weighted(counts, rows, fitted["rarity"]) @ fitted["coefficients"] + fitted["intercept"][0]
        shares[rows] = expit(margins)
    return shares
