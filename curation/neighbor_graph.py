"""Approximate nearest neighbours by a graph, for sets too large to compare all pairs.

Malkov, Yashunin, "Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical
Navigable Small World Graphs", IEEE TPAMI 42, 2020. https://arxiv.org/abs/1603.09320, as in the package usearch.

Some neighbours may be missed; the distances of those found are measured exactly. Of equal points only the first enters:
many of them would fill every list of candidates, and the search would end among them. The origin does not enter, and is
a candidate for every point: in the middle of unit vectors all links between their clusters would lead through it, and a
point of the graph has few links. A graph grows: points enter it in their order, in parts of a fixed number, and before
each part the graph is written and read back, which sets the package's random levels back to their start. So a graph
that was stored and then grown is the same, bit for bit, as one that got all points at once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.distances import check_enough, squared_distances
from curation.neighbors import Neighbors, Rows, joined, nobody
from curation.packages import check_usearch
from storage.values import Array

SEARCHED_PER_NEIGHBOR = 4
"""Candidates asked for, times the neighbours wanted: those beyond them make up for what single precision misorders."""
QUERIES_AT_ONCE = 8192
PAIRS_AT_ONCE = 1 << 19
"""Points that are looked up together, and candidates that are measured together."""
POINTS_OF_A_PART = 1 << 16
"""Points that enter between two writings of the graph; those of an unfinished part enter anew when it grows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """Distinct points joined to some that are near them."""

    index: Any
    """The distinct points without the origin, as usearch has them."""
    points: NDArray[np.float32]
    """(N, D) all points in single precision."""
    place: Rows
    """(N,) which of the distinct points each is; the origin is the one behind the last."""
    stored: NDArray[np.uint8]
    """The points of all finished parts in usearch's format; of no length where no part is finished."""


def graph_of(points: NDArray[np.floating], stored: Array | None = None) -> Graph:
    """The graph of some points, from nothing or from that of the first of them.

    Args:
        points: (N, D) finite coordinates, in the order in which they enter.
        stored: what a graph of the first M of these points, M <= N, has stored; None for nothing. What this version of
            usearch cannot read, or is no such graph, is left aside.

    Raises:
        MissingPackageError: usearch is not installed.
    """
    # Adding zero makes the two zeros of floating point one.
    every = np.ascontiguousarray(points, dtype=np.float32) + np.float32(0)
    distinct, place = _distinct(every)
    index = None if stored is None or not len(stored) else _fitting(stored, distinct)
    if index is None:
        stored, index = np.empty(0, dtype=np.uint8), _index(every.shape[1], np.empty(0, dtype=np.uint8))
    for first in range(len(index), len(distinct), POINTS_OF_A_PART):
        part = distinct[first : first + POINTS_OF_A_PART]
        # One thread, so that the same points in the same order make the same graph.
        index.add(np.arange(first, first + len(part), dtype=np.uint64), part, threads=1)
        if len(part) == POINTS_OF_A_PART:
            stored = np.frombuffer(index.save(), dtype=np.uint8)
            index = _index(every.shape[1], stored)
    return Graph(index=index, points=every, place=place, stored=np.asarray(stored))


def _distinct(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], Rows]:
    """The distinct points but the origin in the order in which they come, and which of them each point is."""
    whole = points.view(np.dtype((np.void, points.shape[1] * points.itemsize))).ravel()
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(first)
    order = order[np.argsort(~points[first[order]].any(axis=1), kind="stable")]
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    distinct = points[first[order]]
    return np.ascontiguousarray(distinct[distinct.any(axis=1)]), number[group.ravel()]


def _fitting(stored: Array, points: NDArray[np.float32]) -> Any:
    """The index that is stored, or None where it cannot be of the first of these points."""
    try:
        index = _index(points.shape[1], stored)
    except (RuntimeError, ValueError):
        return None
    fits = index.ndim == points.shape[1] and len(index) <= len(points) and len(index) % POINTS_OF_A_PART == 0
    return index if fits else None


def _index(num_dimensions: int, stored: Array) -> Any:
    """An index of usearch with the points that are stored."""
    check_usearch()
    from usearch.index import Index

    index = Index(ndim=num_dimensions, metric="l2sq", dtype="f32")
    if len(stored):
        index.load(np.ascontiguousarray(stored, dtype=np.uint8).data)
    return index


def approximate_neighbors(points: NDArray[np.floating], num_neighbors: int, ranks: Rows, graph: Graph) -> Neighbors:
    """The nearest others that a graph finds for every point.

    Args:
        points: (N, D) finite coordinates.
        num_neighbors: k, at least 1 and below N.
        ranks: (N,) place of each point's id: what breaks ties.
        graph: that of these points.

    Returns:
        Lists of k neighbours, the same for the same points in the same order.

    Raises:
        ValueError: there are not more than k points, or the graph leaves a point with fewer neighbours.
    """
    check_enough(len(points), num_neighbors)
    found, twins = nobody(len(points), num_neighbors), _Twins(graph.place, ranks, num_neighbors + 1)
    wanted = min(SEARCHED_PER_NEIGHBOR * num_neighbors + 1, len(graph.index))
    for start in range(0, len(points), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        queries = graph.points[block]
        place, row = twins.of(*_candidates(graph.index, queries, wanted))
        if twins.number > len(graph.index):
            beside = np.arange(len(queries)), np.full(len(queries), len(graph.index))
            place, row = (np.concatenate(pair) for pair in zip((place, row), twins.of(*beside), strict=True))
        place, row = place[start + place != row], row[start + place != row]
        for pairs in range(0, len(place), PAIRS_AT_ONCE):
            one, other = place[pairs : pairs + PAIRS_AT_ONCE], row[pairs : pairs + PAIRS_AT_ONCE]
            lists = Neighbors(rows=found.rows[block], squared_distances=found.squared_distances[block])
            measured = squared_distances(points[start + one], points[other])
            lists = joined(lists, one, other, measured, ranks)
            found.rows[block], found.squared_distances[block] = lists.rows, lists.squared_distances
    lonely = int(np.isinf(found.limits).sum())
    if lonely:
        raise ValueError(
            f"the approximate search found fewer than {num_neighbors} neighbours for {lonely} of {len(points)} "
            "examples; use search = 'exact', or ask for fewer"
        )
    return found


class _Twins:
    """The points that are each of the distinct ones."""

    def __init__(self, place: Rows, ranks: Rows, most: int) -> None:
        """Take in which distinct point each point is; of more equal points those of the smallest ranks are given."""
        self._order = np.lexsort((ranks, place))
        self._begins = np.searchsorted(place[self._order], np.arange(place.max(initial=-1) + 2))
        self._counts = np.minimum(np.diff(self._begins), most)
        self.number = len(self._counts)

    def of(self, query: Rows, distinct: Rows) -> tuple[Rows, Rows]:
        """Pairs of a query and a point, from those of a query and a distinct point."""
        counts = self._counts[distinct]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(query, counts), self._order[np.repeat(self._begins[distinct], counts) + within]


def _candidates(index: Any, queries: NDArray[np.float32], wanted: int) -> tuple[Rows, Rows]:
    """Pairs of a query and a distinct point that the graph thinks near it."""
    if not wanted:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    matches: Any = index.search(queries, wanted)
    keys = np.atleast_2d(matches.keys).astype(np.int64)
    counts = np.full(1, keys.shape[1]) if len(queries) == 1 else matches.counts
    place, column = np.nonzero(np.arange(keys.shape[1]) < counts[:, None])
    return place, keys[place, column]
