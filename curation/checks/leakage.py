"""Leakage: rows of another split whose content, or nearly, a training row has.

Texts are compared by MinHash signatures as in `curation/signature_index.py`, numbers by their distance. Of each row
of the other split only the most alike training row is named. Synthetic rows leak what their parents hold.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.nearest_rows import nearest_rows
from curation.signature_index import Bands, agreeing, band_keys, candidate_pairs, least_equal

Rows = NDArray[np.int64]

MIN_COLUMNS = 8
"""Numbers that a row needs: of fewer, rows lie near each other by chance, about 3 % of them in two columns."""
NUM_MEASURED = 1000
"""Training rows, evenly spaced, that say how far apart neighbours usually are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LeakingPairs:
    """Pairs of a training row and a row of another split, each of the latter at most once, in its order."""

    training: Rows
    """(L,) rows of the training split."""
    other: Rows
    """(L,) rows of the other split."""
    similarity: NDArray[np.float64]
    """(L,) 1 for equal content; see the function that found them."""

    def __len__(self) -> int:
        return len(self.training)


def same_content(training: Rows, other: Rows) -> LeakingPairs:
    """Rows whose content a training row has; the first such row is named.

    Args:
        training: (N,) numbers that are equal where the content is.
        other: (M,) numbers in the same sense.
    """
    known, first = np.unique(training, return_index=True)
    place = np.searchsorted(known, other)
    found = np.flatnonzero(place < len(known))
    found = found[known[place[found]] == other[found]]
    return LeakingPairs(training=first[place[found]], other=found, similarity=np.ones(len(found)))


def alike_texts(
    training: NDArray[np.uint32], other: NDArray[np.uint32], bands: Bands, threshold: float
) -> LeakingPairs:
    """Rows whose estimated Jaccard similarity with a training row reaches a threshold.

    Args:
        training: (N, P) MinHash signatures.
        other: (M, P) signatures made alike.
        bands: how signatures are cut; only pairs that agree in a band are compared.
        threshold: in (0, 1].

    Returns:
        Pairs; their similarity is the share of equal entries. Of equally alike training rows the first is named.
    """
    every = np.concatenate([training, other])
    keys = band_keys(training, bands), band_keys(other, bands)
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for band in range(bands.number):
        old, new = (np.argsort(of_split[band], kind="stable") for of_split in keys)
        sides = (keys[0][band][old], old), (keys[1][band][new], len(training) + new)
        for one, another in candidate_pairs(*sides):
            across = one < len(training)
            one, another = one[across], another[across]
            alike = agreeing(every, one, another) >= least_equal(threshold, every.shape[1])
            first.append(one[alike])
            second.append(another[alike])
    rows, others = np.concatenate(first), np.concatenate(second)
    return _most_alike(rows, others - len(training), agreeing(every, rows, others) / every.shape[1])


def alike_numbers(training: NDArray[np.floating], other: NDArray[np.floating], threshold: float) -> LeakingPairs:
    """Rows that lie much nearer to a training row than training rows usually lie to each other.

    Args:
        training: (N, D) finite numbers on one scale, N at least 2 and D at least `MIN_COLUMNS`.
        other: (M, D) numbers on the same scale.
        threshold: smallest similarity, in (0, 1].

    Returns:
        Pairs; their similarity is 1 less the distance divided by the median distance of a training row to the nearest
        other one. There are none where that is 0, as where most training rows have twins.

    Raises:
        ValueError: there are fewer columns or training rows.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    if training.shape[1] < MIN_COLUMNS:
        raise ValueError(f"near duplicates need at least {MIN_COLUMNS} numbers a row, got {training.shape[1]}")
    usual = usual_distance(training)
    if usual == 0 or not len(other):
        nothing = np.zeros(0, dtype=np.int64)
        return LeakingPairs(training=nothing, other=nothing, similarity=np.zeros(0))
    nearest, distances = pairwise_distances_argmin_min(other.astype(np.float64), training.astype(np.float64))
    found = np.flatnonzero(1 - distances / usual >= threshold)
    return LeakingPairs(training=nearest[found].astype(np.int64), other=found, similarity=1 - distances[found] / usual)


def parent_pairs(parents: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Synthetic rows of which a parent is a row of another split, or has the content of one.

    Args:
        parents: `row`, `parent` and the parent's `content`, a number that is equal where the content is.
        other: `other`, ids of the other split, with their `content`.

    Returns:
        `row`, `other`, `parent`: each row once, by the parent that lies in the split itself where there is one.
    """
    itself = parents.join(other, left_on="parent", right_on="other", how="semi").with_columns(other="parent")
    twins = parents.join(other.unique("content", keep="first", maintain_order=True), on="content")
    both = pl.concat([one.select("row", "other", "parent") for one in (itself, twins)])
    return both.unique("row", keep="first", maintain_order=True).sort("row")


def usual_distance(rows: NDArray[np.floating]) -> float:
    """Median distance to the nearest other row, over `NUM_MEASURED` evenly spaced rows of (N, D), N at least 2."""
    asked = np.unique(np.linspace(0, len(rows) - 1, NUM_MEASURED).astype(np.int64))
    nearest = nearest_rows(rows, asked, 1)[:, 0]
    apart = rows[asked].astype(np.float64) - rows[nearest]
    return float(np.median(np.sqrt(np.square(apart).sum(axis=1))))


def _most_alike(training: Rows, other: Rows, similarity: NDArray[np.float64]) -> LeakingPairs:
    """Of each row of the other split the pair that is most alike."""
    order = np.lexsort((training, -similarity, other))
    _, first = np.unique(other[order], return_index=True)
    best = order[first]
    return LeakingPairs(training=training[best], other=other[best], similarity=similarity[best])
