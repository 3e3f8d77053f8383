"""Directions: embeddings by their angle alone, and the clusters of those that point the same way.

Cosines are measured as distances of unit vectors, so that those of twins are exactly 1 and a cosine has the same bits
however rows are cut into blocks or batches. A vector of zeros has no direction and is like no other.
"""

import numpy as np
from numpy.typing import NDArray

from curation.clusters import united
from curation.distances import squared_distances
from curation.neighbors import (
    PAIRS_AT_ONCE,
    POINTS_AT_ONCE,
    QUERIES_AT_ONCE,
    Points,
    Rows,
    candidates,
)
from storage.values import Array

ROUNDING = 1e-12
"""How far below the threshold a cosine may be and still reach it."""


def directions(embedding: NDArray[np.floating]) -> Points:
    """(N, D) rows of length 1, each from its own row of the embedding alone; zeros stay zeros."""
    exact = embedding.astype(np.float64)
    exact /= _or_one(np.abs(exact).max(axis=1, initial=0.0))[:, None]
    exact /= _or_one(np.sqrt(np.square(exact).sum(axis=1)))[:, None]
    return exact


def _or_one(lengths: Points) -> Points:
    return np.where(lengths > 0, lengths, 1.0)


def cosines(units: Points, first: Rows, second: Rows) -> Points:
    """(L,) cosine, in [-1, 1], of each pair of rows, (N, D) directions; 1 of a row with itself."""
    found = np.empty(len(first))
    for start in range(0, len(first), PAIRS_AT_ONCE):
        pair = slice(start, start + PAIRS_AT_ONCE)
        found[pair] = 1 - squared_distances(units[first[pair]], units[second[pair]]) / 2
    return np.maximum(found, -1.0)


def joined_by_cosine(units: Points, keepers: Rows, first_new: int, threshold: float) -> Rows:
    """Keepers after every two rows whose cosine reaches the threshold have been put into one cluster.

    Args:
        units: (N, D) directions.
        keepers: (N,) each row's keeper, as earlier rows among themselves have it; a new row's is itself.
        first_new: the first row that has not been compared with those before it.
        threshold: in (0, 1].

    Returns:
        (N,) keepers. Pairs that are in one cluster already are not measured.
    """
    rows = _with_direction(units)
    points = units[rows]
    norms = np.square(points).sum(axis=1)
    reach = 2 * (1 - threshold) + 2 * ROUNDING
    for start in range(int(np.searchsorted(rows, first_new)), len(rows), QUERIES_AT_ONCE):
        asked = points[start : start + QUERIES_AT_ONCE]
        limits = np.full(len(asked), reach)
        for begin in range(0, start + len(asked), POINTS_AT_ONCE):
            columns = slice(begin, min(begin + POINTS_AT_ONCE, start + len(asked)))
            query, column = candidates(asked, points[columns], norms[columns], limits, 1)
            first, second = rows[begin + column], rows[start + query]
            keepers = _joined(units, keepers, first, second, threshold)
    return keepers


def joined_by_graph(units: Points, threshold: float, num_neighbors: int, stored: Array | None) -> tuple[Rows, Array]:
    """(N,) keepers as in `joined_by_cosine`, from the few nearest rows that an approximate search finds for each.

    Args:
        units: (N, D) directions.
        threshold: in (0, 1].
        num_neighbors: how many, at least 1.
        stored: of the graph of the first rows; None for nothing.

    Returns:
        The keepers, and what is to be stored of the graph of all rows.

    Raises:
        ValueError: the search finds fewer for a row.
        MissingPackageError: usearch is not installed.
    """
    from curation.neighbor_graph import approximate_neighbors, graph_of

    keepers, rows = np.arange(len(units)), _with_direction(units)
    graph = graph_of(units[rows], stored)
    if len(rows) < 2:
        return keepers, graph.stored
    wanted = min(num_neighbors, len(rows) - 1)
    found = approximate_neighbors(units[rows], wanted, np.arange(len(rows)), graph)
    joined = _joined(units, keepers, rows[found.rows].ravel(), np.repeat(rows, wanted), threshold)
    return joined, graph.stored


def _with_direction(units: Points) -> Rows:
    return np.flatnonzero(units.any(axis=1))


def _joined(units: Points, keepers: Rows, first: Rows, second: Rows, threshold: float) -> Rows:
    """Keepers after those of these pairs that are alike have been united."""
    for start in range(0, len(first), PAIRS_AT_ONCE):
        one, other = first[start : start + PAIRS_AT_ONCE], second[start : start + PAIRS_AT_ONCE]
        apart = keepers[one] != keepers[other]
        one, other = one[apart], other[apart]
        alike = cosines(units, one, other) >= threshold - ROUNDING
        keepers = united(keepers, one[alike], other[alike])
    return keepers
