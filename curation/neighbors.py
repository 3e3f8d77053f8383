"""Nearest neighbours in a space of embeddings, exact, and the merge of their lists when points are added.

Distances are Euclidean. A matrix product finds candidates with the room its rounding needs; these are then measured
one by one, so that a distance has the same bits however the points were cut into blocks or batches. Of equally
distant neighbours the one with the smaller id comes first.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from curation.packages import check_usearch
from curation.scorer import check_finite
from storage.values import Signals

Search = Literal["auto", "exact", "approximate"]
"""`exact` compares all pairs; `approximate` follows a graph of `curation/neighbor_graph.py`; `auto` is exact as long as
that takes about a minute."""

Points = NDArray[np.float64]
Rows = NDArray[np.int64]

EXACT_AT_MOST = 100_000
"""Rows up to which `auto` compares all pairs."""
QUERIES_AT_ONCE = 256
POINTS_AT_ONCE = 4096
PAIRS_AT_ONCE = 1 << 16
"""Sizes of the blocks in which products are formed and candidates are measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbors:
    """For each of Q points its k nearest others, nearest first."""

    rows: Rows
    """(Q, k) rows of the neighbours; -1 where there are no more."""
    squared_distances: NDArray[np.float64]
    """(Q, k) squared distances; infinity where there are no more."""

    @property
    def limits(self) -> NDArray[np.float64]:
        """(Q,) squared distance of the farthest neighbour in each list."""
        return self.squared_distances[:, -1]


def embeddings_of(signals: Signals) -> list[NDArray[np.floating]]:
    """Signal `embedding`, checked: (N, D) for each seed of a learner at its last epoch, or the only one there is.

    Raises:
        ValueError: it was not given, has another shape, or is not finite.
    """
    embedding = signals["embedding"]
    found = list(signals.at_epoch("embedding", None)) if "embedding" in signals.epochs else [embedding]
    for one in found:
        if one.ndim != 2 or not np.issubdtype(one.dtype, np.floating):
            raise ValueError(f"signal 'embedding' must be (N, D) of floating point, got {one.shape} of {one.dtype}")
        check_finite(signals.index, "embedding", one[None])
    return found


def embedding_of(signals: Signals) -> NDArray[np.floating]:
    """The same as one array: the embeddings of R seeds side by side, (N, R * D).

    Raises:
        ValueError: as `embeddings_of`.
    """
    found = embeddings_of(signals)
    return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


def check_search(num_neighbors: int, search: Search) -> None:
    """Refuse fewer than one neighbour, and an unknown way of searching."""
    if num_neighbors < 1:
        raise ValueError(f"num_neighbors must be at least 1, got {num_neighbors}")
    if search not in get_args(Search):
        raise ValueError(f"search must be one of {', '.join(get_args(Search))}, got {search!r}")


def searches_exactly(search: Search, num_examples: int) -> bool:
    """Whether so many examples are compared with each other, all with all."""
    return search == "exact" or (search == "auto" and num_examples <= EXACT_AT_MOST)


def check_search_package(search: Search, num_examples: int) -> None:
    """Refuse to follow a graph of so many examples without usearch.

    Raises:
        MissingPackageError: it is needed and not installed.
    """
    if not searches_exactly(search, num_examples):
        check_usearch()


def check_same_width(embedding: NDArray[np.floating], earlier: NDArray[np.floating]) -> None:
    """Refuse new rows whose embedding has another number of dimensions than that of earlier ones."""
    if embedding.shape[1] != earlier.shape[1]:
        raise ValueError(
            f"signal 'embedding' has {embedding.shape[1]} dimensions, but earlier rows have {earlier.shape[1]}"
        )


def neighbors(points: NDArray[np.floating], num_neighbors: int, ranks: Rows) -> Neighbors:
    """The nearest others of every point.

    Args:
        points: (N, D) finite coordinates.
        num_neighbors: k, at least 1 and below N.
        ranks: (N,) place of each point's id: what breaks ties.

    Raises:
        ValueError: there are not more than k points.
    """
    check_enough(len(points), num_neighbors)
    every = points.astype(np.float64)
    return _nearest(_Block(every, 0), _Block(every, 0), nobody(len(every), num_neighbors), ranks)


def check_enough(num_examples: int, num_neighbors: int) -> None:
    """Refuse to look for more neighbours than there are other examples."""
    if num_examples <= num_neighbors:
        raise ValueError(
            f"{num_neighbors} neighbours need more than {num_neighbors} examples, got {num_examples}; ask for fewer"
        )


def extended(known: Neighbors, old: NDArray[np.floating], new: NDArray[np.floating], ranks: Rows) -> Neighbors:
    """The nearest others of N old and then M new points, from the lists that the old ones had among themselves.

    Args:
        known: lists of the N old points.
        old: (N, D) old points.
        new: (M, D) new points, whose rows follow.
        ranks: (N + M,) place of each point's id among all: what breaks ties.
    """
    before, added = _Block(old.astype(np.float64), 0), _Block(new.astype(np.float64), len(old))
    of_old = _nearest(before, added, known, ranks)
    among_old = _nearest(added, before, nobody(len(new), known.rows.shape[1]), ranks)
    of_new = _nearest(added, added, among_old, ranks)
    return Neighbors(
        rows=np.concatenate([of_old.rows, of_new.rows]),
        squared_distances=np.concatenate([of_old.squared_distances, of_new.squared_distances]),
    )


class _Block(NamedTuple):
    """Points whose rows count on from `first`."""

    points: Points
    first: int


def nobody(num_points: int, num_neighbors: int) -> Neighbors:
    """Lists in which no neighbour stands yet."""
    shape = (num_points, num_neighbors)
    return Neighbors(rows=np.full(shape, -1, dtype=np.int64), squared_distances=np.full(shape, np.inf))


def _nearest(queries: _Block, others: _Block, known: Neighbors, ranks: Rows) -> Neighbors:
    """Lists of the queries after the others have joined those who are known."""
    rows, distances = known.rows.copy(), known.squared_distances.copy()
    norms = np.square(others.points).sum(axis=1)
    for start in range(0, len(rows), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        found, asked = Neighbors(rows=rows[block], squared_distances=distances[block]), queries.points[block]
        for begin in range(0, len(norms), POINTS_AT_ONCE):
            columns = slice(begin, begin + POINTS_AT_ONCE)
            # One more than the neighbours, since the query may be one of the points.
            wanted = rows.shape[1] + 1
            query, column = candidates(asked, others.points[columns], norms[columns], found.limits, wanted)
            there = queries.first + start + query != others.first + begin + column
            query, column = query[there], begin + column[there]
            for chunk in range(0, len(query), PAIRS_AT_ONCE):
                pair = slice(chunk, chunk + PAIRS_AT_ONCE)
                measured = squared_distances(asked[query[pair]], others.points[column[pair]])
                found = joined(found, query[pair], others.first + column[pair], measured, ranks)
        rows[block], distances[block] = found.rows, found.squared_distances
    return Neighbors(rows=rows, squared_distances=distances)


def candidates(queries: Points, points: Points, norms: Points, limits: Points, num_wanted: int) -> tuple[Rows, Rows]:
    """Pairs that may be nearer than the limit of their query and among its `num_wanted` nearest of these points.

    Args:
        queries: (Q, D) coordinates.
        points: (P, D) coordinates.
        norms: (P,) squared lengths of the points.
        limits: (Q,) squared distances; where all are finite, they alone decide.
        num_wanted: how many of the nearest points of a query without a limit are needed.

    Returns:
        Two arrays (L,), rows of the queries and of the points; all pairs asked for, and a few beyond.
    """
    lengths = np.square(queries).sum(axis=1)
    room = 16 * (queries.shape[1] + 8) * np.finfo(np.float64).eps * (lengths + norms.max())
    # Squared distances but for the query's own length, which is the same for all of its points.
    rough = (-2.0 * queries) @ points.T
    rough += norms
    reach = limits - lengths
    if num_wanted < len(points) and np.isinf(limits).any():
        reach = np.minimum(reach, np.partition(rough, num_wanted - 1, axis=1)[:, num_wanted - 1] + room)
    query, column = np.divmod(np.flatnonzero(rough <= (reach + room)[:, None]), len(points))
    return query, column


def squared_distances(first: NDArray[np.floating], second: NDArray[np.floating]) -> Points:
    """(L,) squared distance of each pair of points, the same bits whatever else is measured with it."""
    distances: Points = np.square(first.astype(np.float64) - second.astype(np.float64)).sum(axis=1)
    return distances


def joined(found: Neighbors, query: Rows, row: Rows, measured: Points, ranks: Rows) -> Neighbors:
    """The lists with further candidates: pairs of a query and a row not in its list, with their squared distance."""
    num_queries, num_neighbors = found.rows.shape
    queries = np.concatenate([np.repeat(np.arange(num_queries), num_neighbors), query])
    rows = np.concatenate([found.rows.ravel(), row])
    distances = np.concatenate([found.squared_distances.ravel(), measured])
    # A missing neighbour, of row -1, comes last whatever its rank: its distance alone is infinite.
    order = np.lexsort((ranks[rows], distances, queries))
    begins = np.searchsorted(queries[order], np.arange(num_queries))
    kept = order[begins[:, None] + np.arange(num_neighbors)]
    return Neighbors(rows=rows[kept], squared_distances=distances[kept])
