"""N-gram space: counts of n-grams as weighted vectors, and a linear model that tells some of these from others.

A count c weighs (1 + ln c) * (1 + ln((1 + N) / (1 + n))) where n of N documents have the n-gram, and each row gets
length 1: Manning, Raghavan, Schütze, "Introduction to Information Retrieval", 2008, chapter 6,
https://nlp.stanford.edu/IR-book The weights are fitted on documents alone.
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
    return rarity_of(having, len(documents))


def rarity_of(having: Rows, num_documents: int) -> Reals:
    """(B,) the same from how many of the documents count each bucket at least once."""
    weights: Reals = 1.0 + np.log((1 + num_documents) / (1 + having))
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
        parts.append(weighed(_sparse(counts[rows[first : first + ROWS_AT_ONCE]]), rare))
    return csr_array(vstack(parts))


def _sparse(counts: Array) -> csr_array:
    """Counts (M, B) of which only those above 0 are stored."""
    places = np.flatnonzero(counts != 0)
    rows, buckets = np.divmod(places, counts.shape[1])
    begins = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(counts)))])
    return csr_array((counts.ravel()[places], buckets, begins), shape=counts.shape)


def weighed(counts: csr_array, rare: Reals) -> csr_array:
    """(M, B) weighted vectors of length 1 from counts (M, B) that are above 0 where they are stored."""
    vectors = counts.astype(np.float64)
    vectors.data = (1.0 + np.log(vectors.data)) * rare[vectors.indices]
    lengths = np.sqrt(np.array([np.square(one).sum() for one in np.split(vectors.data, vectors.indptr[1:-1])]))
    vectors.data /= np.repeat(lengths, np.diff(vectors.indptr))
    return vectors


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
