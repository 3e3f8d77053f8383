"""Nearest neighbours in a space of embeddings, exact, and the merge of their lists when points are added.

Distances are Euclidean. Matrix products find candidates with the room their rounding needs; these are then measured
one by one, so that a distance has the same bits however the points were cut into blocks or batches. Of equally
distant neighbours the one with the smaller id comes first.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.nearest_rows import Lists, nearest_lists
from curation.packages import check_usearch
from curation.scorer import check_finite
from storage.values import Signals

Search = Literal["auto", "exact", "approximate"]
"""`exact` compares all pairs; `approximate` follows a graph of `curation/neighbor_graph.py`; `auto` goes by the
number of rows."""

Points = NDArray[np.float64]
Rows = NDArray[np.int64]

EXACT_AT_MOST = 250_000
"""Rows up to which `auto` compares all pairs: one to two minutes in 64 dimensions."""
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
    found = nearest_lists(points, num_neighbors, ranks)
    return Neighbors(rows=found.rows, squared_distances=found.squared_distances)


def extended(known: Neighbors, points: NDArray[np.floating], ranks: Rows) -> Neighbors:
    """The nearest others of N old and then M new points, from the lists that the old ones had among themselves.

    Args:
        known: lists of the N old points.
        points: (N + M, D) all points, the old ones first.
        ranks: (N + M,) place of each point's id among all: what breaks ties.
    """
    lists = Lists(known.rows, known.squared_distances)
    found = nearest_lists(points, known.rows.shape[1], ranks, lists)
    return Neighbors(rows=found.rows, squared_distances=found.squared_distances)


def nobody(num_points: int, num_neighbors: int) -> Neighbors:
    """Lists in which no neighbour stands yet."""
    shape = (num_points, num_neighbors)
    return Neighbors(rows=np.full(shape, -1, dtype=np.int64), squared_distances=np.full(shape, np.inf))


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
