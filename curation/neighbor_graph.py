"""Approximate nearest neighbours by a graph, for sets too large to compare all pairs.

Malkov, Yashunin, "Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical
Navigable Small World Graphs", IEEE TPAMI 42, 2020. https://arxiv.org/abs/1603.09320, as in the package usearch.

Some neighbours may be missed; the distances of those found are measured exactly. Which are missed depends on the order
in which points enter the graph, so it is built anew, in that order, whenever points are added.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.neighbors import Neighbors, Rows, check_enough, joined, nobody, squared_distances
from storage.errors import MissingPackageError

SEARCHED_PER_NEIGHBOR = 4
"""Candidates asked for, times the neighbours wanted: those beyond them make up for what single precision misorders."""
QUERIES_AT_ONCE = 8192
"""Points whose candidates are measured together."""


def approximate_neighbors(points: NDArray[np.floating], num_neighbors: int, ranks: Rows) -> Neighbors:
    """The nearest others that the graph finds for every point.

    Args:
        points: (N, D) finite coordinates.
        num_neighbors: k, at least 1 and below N.
        ranks: (N,) place of each point's id: what breaks ties.

    Returns:
        Lists of k neighbours, the same for the same points in the same order.

    Raises:
        ValueError: there are not more than k points, or the graph leaves a point with fewer neighbours.
        MissingPackageError: usearch is not installed.
    """
    check_enough(len(points), num_neighbors)
    single = np.ascontiguousarray(points, dtype=np.float32)
    graph = _empty_graph(points.shape[1])
    # One thread, so that the same points in the same order make the same graph.
    graph.add(np.arange(len(points), dtype=np.uint64), single, threads=1)
    found = nobody(len(points), num_neighbors)
    for start in range(0, len(points), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        place, row = _candidates(graph, single[block], min(SEARCHED_PER_NEIGHBOR * num_neighbors + 1, len(points)))
        place, row = place[start + place != row], row[start + place != row]
        measured = squared_distances(points[start + place], points[row])
        lists = joined(nobody(len(single[block]), num_neighbors), place, row, measured, ranks)
        found.rows[block], found.squared_distances[block] = lists.rows, lists.squared_distances
    lonely = int(np.isinf(found.limits).sum())
    if lonely:
        raise ValueError(
            f"the approximate search found fewer than {num_neighbors} neighbours for {lonely} of {len(points)} "
            "examples; use search = 'exact', or ask for fewer"
        )
    return found


def _empty_graph(num_dimensions: int) -> Any:
    try:
        from usearch.index import Index
    except ImportError as missing:
        raise MissingPackageError("search = 'approximate' needs usearch: pip install 'tamis[neighbors]'") from missing
    return Index(ndim=num_dimensions, metric="l2sq", dtype="f32")


def _candidates(graph: Any, queries: NDArray[np.float32], wanted: int) -> tuple[Rows, Rows]:
    """Pairs of a query and a row that the graph thinks near it."""
    matches: Any = graph.search(queries, wanted)
    keys = np.atleast_2d(matches.keys).astype(np.int64)
    counts = np.full(1, keys.shape[1]) if len(queries) == 1 else matches.counts
    place, column = np.nonzero(np.arange(keys.shape[1]) < counts[:, None])
    return place, keys[place, column]
