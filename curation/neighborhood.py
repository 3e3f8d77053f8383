"""Neighbourhood: neighbour lists as the state of a scorer, exact or approximate, started and grown.

Scorers that one process runs after each other on the same embedding share one search.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from curation.neighbors import Neighbors, Search, check_same_width, extended, neighbors
from curation.ranks import id_ranks
from storage.index import ExampleIndex
from storage.values import Array

State = dict[str, Array]


def started(
    index: ExampleIndex, embedding: NDArray[np.floating], num_neighbors: int, search: Search
) -> tuple[Neighbors, State]:
    """The neighbours of N examples, and the arrays from which `grown` goes on.

    Args:
        index: N examples; of equally distant neighbours the smaller id comes first.
        embedding: (N, D) finite coordinates.
        num_neighbors: k, at least 1 and below N.
        search: how neighbours are found.
    """
    found = _searched(id_ranks(index.ids), embedding, num_neighbors, search)
    if search == "exact":
        lists = {"neighbors": found.rows, "squared_distances": found.squared_distances}
        return found, {"embedding": embedding, **lists}
    return found, {"embedding": embedding}


_last: dict[bytes, Neighbors] = {}
"""The lists of the last search, by what was searched; one entry."""


def _searched(
    ranks: NDArray[np.int64], embedding: NDArray[np.floating], num_neighbors: int, search: Search
) -> Neighbors:
    """The neighbours of all, from the last search where that was of the same points and as many neighbours or more."""
    points = np.ascontiguousarray(embedding)
    searched = hashlib.sha256(f"{points.dtype} {points.shape} {search}".encode())
    for array in (ranks, points):
        searched.update(np.ascontiguousarray(array).data)
    key = searched.digest()
    known = _last.get(key)
    width = 0 if known is None else known.rows.shape[1]
    # An approximate search for more neighbours looks further, so that its first ones may be others.
    if known is not None and (width == num_neighbors or (search == "exact" and width > num_neighbors)):
        return Neighbors(
            rows=known.rows[:, :num_neighbors].copy(),
            squared_distances=known.squared_distances[:, :num_neighbors].copy(),
        )
    if search == "exact":
        found = neighbors(embedding, num_neighbors, ranks)
    else:
        from curation.neighbor_graph import approximate_neighbors

        found = approximate_neighbors(embedding, num_neighbors, ranks)
    _last.clear()
    _last[key] = Neighbors(rows=found.rows.copy(), squared_distances=found.squared_distances.copy())
    return found


def grown(
    state: Mapping[str, Array],
    index: ExampleIndex,
    embedding: NDArray[np.floating],
    num_neighbors: int,
    search: Search,
) -> tuple[Neighbors, State]:
    """The neighbours of all N + M examples, and the arrays for the next time.

    Args:
        state: arrays of the N earlier examples; exact lists are merged with the new rows, approximate ones made anew.
        index: all examples, the earlier ones first.
        embedding: (M, D) coordinates of the new ones.
        num_neighbors: k, as at the start.
        search: how neighbours are found, as at the start.

    Raises:
        ValueError: D is another than that of the earlier ones.
    """
    old = state["embedding"]
    check_same_width(embedding, old)
    every = np.concatenate([old, embedding])
    if search != "exact":
        return started(index, every, num_neighbors, search)
    known = Neighbors(rows=state["neighbors"], squared_distances=state["squared_distances"])
    found = extended(known, old, embedding, id_ranks(index.ids))
    lists = {"neighbors": found.rows, "squared_distances": found.squared_distances}
    return found, {"embedding": every, **lists}
