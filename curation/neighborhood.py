"""Neighbourhood: neighbour lists as the state of a scorer, exact or approximate, started and grown.

A learner's embeddings are one for each seed, and so are the lists. Scorers that one process runs after each other on
the same embeddings share one search.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.neighbors import Neighbors, Search, check_same_width, extended, neighbors, searches_exactly
from curation.ranks import id_ranks
from storage.index import ExampleIndex
from storage.values import Array

State = dict[str, Array]
Embeddings = Sequence[NDArray[np.floating]]
"""R times (N, D) finite coordinates."""


class _Found(NamedTuple):
    """What a search found, and what was stored of its graph, if it followed one."""

    lists: Neighbors
    stored: Array | None


_last: dict[bytes, _Found] = {}
"""The last search of each seed, by what was searched."""


def started(
    index: ExampleIndex, embeddings: Embeddings, num_neighbors: int, search: Search
) -> tuple[list[Neighbors], State]:
    """The neighbours of N examples in each embedding, and the arrays from which `grown` goes on.

    Args:
        index: N examples; of equally distant neighbours the smaller id comes first.
        embeddings: one for each seed.
        num_neighbors: k, at least 1 and below N.
        search: how neighbours are found.
    """
    return _searched(index, embeddings, num_neighbors, search, [None] * len(embeddings))


def _searched(
    index: ExampleIndex,
    embeddings: Embeddings,
    num_neighbors: int,
    search: Search,
    stored: Sequence[Array | None],
) -> tuple[list[Neighbors], State]:
    """As `started`, from the graphs of earlier rows that are stored."""
    ranks, exact = id_ranks(index.ids), searches_exactly(search, len(index))
    entries: dict[bytes, _Found] = {}
    found = []
    for points, graph in zip(embeddings, stored, strict=True):
        key = _key(points, ranks, exact)
        one = _known(key, num_neighbors, exact)
        if one is None:
            one = _found(points, num_neighbors, ranks, exact, _last[key].stored if key in _last else graph)
        entries[key] = one
        found.append(_Found(_copied(one.lists, num_neighbors), one.stored))
    _last.clear()
    _last.update(entries)
    return [one.lists for one in found], _state(embeddings, found)


def _key(points: NDArray[np.floating], ranks: NDArray[np.int64], exact: bool) -> bytes:
    told = hashlib.sha256(f"{points.dtype} {points.shape} {exact}".encode())
    for array in (ranks, points):
        told.update(np.ascontiguousarray(array).data)
    return told.digest()


def _known(key: bytes, num_neighbors: int, exact: bool) -> _Found | None:
    """The last search where it was of the same points and for as many neighbours; an exact one may be for more."""
    one = _last.get(key)
    width = 0 if one is None else one.lists.rows.shape[1]
    # An approximate search for more neighbours looks further, so that its first ones may be others.
    return one if width == num_neighbors or (exact and width > num_neighbors) else None


def _found(
    points: NDArray[np.floating], num_neighbors: int, ranks: NDArray[np.int64], exact: bool, stored: Array | None
) -> _Found:
    if exact:
        return _Found(neighbors(points, num_neighbors, ranks), None)
    from curation.neighbor_graph import approximate_neighbors, graph_of

    graph = graph_of(points, stored)
    return _Found(approximate_neighbors(points, num_neighbors, ranks, graph), graph.stored)


def _copied(lists: Neighbors, num_neighbors: int) -> Neighbors:
    """The first so many neighbours, as arrays of their own."""
    return Neighbors(
        rows=lists.rows[:, :num_neighbors].copy(), squared_distances=lists.squared_distances[:, :num_neighbors].copy()
    )


def _state(embeddings: Embeddings, found: Sequence[_Found]) -> State:
    state: State = {}
    for seed, (embedding, one) in enumerate(zip(embeddings, found, strict=True)):
        state[f"embedding.{seed}"] = embedding
        if one.stored is None:
            state[f"neighbors.{seed}"], state[f"distances.{seed}"] = one.lists.rows, one.lists.squared_distances
        else:
            state[f"graph.{seed}"] = one.stored
    return state


def grown(
    state: Mapping[str, Array],
    index: ExampleIndex,
    embeddings: Embeddings,
    num_neighbors: int,
    search: Search,
) -> tuple[list[Neighbors], State]:
    """The neighbours of all N + M examples, and the arrays for the next time.

    Exact lists are merged with the new rows. New rows enter a graph that is stored, and all rows are looked up in it.

    Args:
        state: arrays of the N earlier examples.
        index: all examples, the earlier ones first.
        embeddings: (M, D) coordinates of the new ones, one for each seed.
        num_neighbors: k, as at the start.
        search: how neighbours are found, as at the start.

    Raises:
        ValueError: D or the number of seeds is another than that of the earlier ones.
    """
    seeds = range(len(embeddings))
    if f"embedding.{len(seeds)}" in state or f"embedding.{len(seeds) - 1}" not in state:
        raise ValueError(f"new rows have embeddings of {len(seeds)} seeds, and earlier ones of another number")
    old = [state[f"embedding.{seed}"] for seed in seeds]
    for new, before in zip(embeddings, old, strict=True):
        check_same_width(new, before)
    every = [np.concatenate([before, new]) for before, new in zip(old, embeddings, strict=True)]
    if not searches_exactly(search, len(index)):
        return _searched(index, every, num_neighbors, search, [state.get(f"graph.{seed}") for seed in seeds])
    found, ranks = [], id_ranks(index.ids)
    for seed in seeds:
        known = Neighbors(rows=state[f"neighbors.{seed}"], squared_distances=state[f"distances.{seed}"])
        found.append(_Found(extended(known, every[seed], ranks), None))
    return [one.lists for one in found], _state(every, found)
