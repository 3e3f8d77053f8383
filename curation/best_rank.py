"""Best rank: the first place that a document takes in the lists of all targets, each sorted by cosine similarity.

Matrix products in single precision find candidates with the room that their rounding needs; only these are measured
one by one, in double precision, so that no rank depends on how the rows were cut into blocks. Each target keeps its
nearest R documents alone: a document in any list has its exact best rank, every other one has a best rank above R.

Documents are some rows of a table, in the order that breaks ties; a document's `place` is its position in that order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Reals = NDArray[np.float64]
Embedding = NDArray[np.floating]
Value = Literal["log", "reciprocal"]

TARGETS_AT_ONCE = 256
DOCUMENTS_AT_ONCE = 8192
PAIRS_AT_ONCE = 512
"""Sizes of the blocks in which products are formed and candidates are measured."""

FIRST_LOOK = 1024
"""Documents whose products give a target its first limit."""
LEAST_CUTOFF = 16
"""The first cutoff that is tried, or more where so short lists could hardly hold what is needed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NearestLists:
    """For each of M targets its nearest documents, nearest first."""

    places: Rows
    """(M, R) places of documents."""
    cosines: Reals
    """(M, R) cosine of each to the target, in [-1, 1] up to rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BestRanks:
    """For each of N documents, by its place, its best rank and the target that gave it."""

    ranks: Rows
    """(N,) best rank in [1, cutoff]; cutoff + 1 for documents that are in no target's list."""
    cosines: Reals
    """(N,) cosine to the target that gave the rank; -infinity for documents that are in no list."""
    targets: Rows
    """(N,) row of that target: of several with the same rank the nearest, of these the first; -1 for none."""
    cutoff: int
    """R, the length of each target's list."""

    @property
    def num_ranked(self) -> int:
        """How many documents are in a list."""
        return int(np.count_nonzero(self.targets >= 0))

    @property
    def order(self) -> Rows:
        """(N,) places from the best document to the worst: by rank, then by cosine, then by place."""
        places: Rows = np.lexsort((-self.cosines, self.ranks)).astype(np.int64)
        return places


def covering_ranks(table: Embedding, documents: Rows, targets: Embedding, num_needed: int) -> BestRanks:
    """Best ranks by the first cutoff at which the lists together hold at least so many documents.

    The cutoff is doubled, and all done again, until they do.

    Args:
        table: (P, D) finite embeddings; those of zeros have cosine 0 to everything.
        documents: (N,) distinct rows of the table in the order that breaks ties; N at least 1.
        targets: (M, D) finite embeddings; M at least 1.
        num_needed: in [1, N].
    """
    cutoff = max(LEAST_CUTOFF, math.ceil(4 * num_needed / len(targets)))
    while True:
        found = best_ranks(table, documents, targets, min(cutoff, len(documents)))
        if found.num_ranked >= num_needed:
            return found
        cutoff *= 2


def best_ranks(table: Embedding, documents: Rows, targets: Embedding, cutoff: int) -> BestRanks:
    """Best ranks up to a cutoff.

    Args:
        table: (P, D) as in `covering_ranks`.
        documents: (N,) as there.
        targets: (M, D) as there.
        cutoff: R in [1, N].
    """
    lists = nearest_documents(table, documents, targets, cutoff)
    target, rank = np.divmod(np.arange(lists.places.size), cutoff)
    places, cosines = lists.places.ravel(), lists.cosines.ravel()
    order = np.lexsort((target, -cosines, rank, places))
    found, firsts = np.unique(places[order], return_index=True)
    best = order[firsts]
    ranks = np.full(len(documents), cutoff + 1, dtype=np.int64)
    nearest = np.full(len(documents), -np.inf)
    sources = np.full(len(documents), -1, dtype=np.int64)
    ranks[found], nearest[found], sources[found] = rank[best] + 1, cosines[best], target[best]
    return BestRanks(ranks=ranks, cosines=nearest, targets=sources, cutoff=cutoff)


def nearest_documents(table: Embedding, documents: Rows, targets: Embedding, num_nearest: int) -> NearestLists:
    """The documents with the highest cosine to each target, exactly; equal cosines follow the places.

    Args:
        table: (P, D) as in `covering_ranks`.
        documents: (N,) as there.
        targets: (M, D) as there.
        num_nearest: R in [1, N].

    Returns:
        Lists that are the same bits whatever the sizes of blocks. Beside the arguments and the result, memory is that
        of a few blocks and of about 3 R candidates per target.
    """
    if not 1 <= num_nearest <= len(documents):
        raise ValueError(f"num_nearest must be in [1, {len(documents)}], the number of documents, got {num_nearest}")
    searches = [
        _Search(table, documents, targets[first : first + TARGETS_AT_ONCE], num_nearest)
        for first in range(0, len(targets), TARGETS_AT_ONCE)
    ]
    for first in range(0, len(documents), DOCUMENTS_AT_ONCE):
        block = directions(table[documents[first : first + DOCUMENTS_AT_ONCE]])
        for search in searches:
            search.look_at(block, first)
    for search in searches:
        search.settle()
    return NearestLists(
        places=np.concatenate([search.places for search in searches]),
        cosines=np.concatenate([search.cosines for search in searches]),
    )


class _Search:
    """The candidates of some targets among the documents seen so far."""

    def __init__(self, table: Embedding, documents: Rows, targets: Embedding, num_nearest: int) -> None:
        self.table, self.documents, self.targets = table, documents, targets
        self.directions = directions(targets)
        self.num_nearest = num_nearest
        # Twice the largest rounding error of a product of two unit vectors.
        self.room = np.float32(2 * (targets.shape[1] + 8) * np.finfo(np.float32).eps)
        self.cosines: NDArray[np.floating] = np.full((len(targets), num_nearest), -np.inf, dtype=np.float32)
        """(m, W) rough or exact cosines of the candidates, highest first; -infinity where there are fewer."""
        self.places: Rows = np.full((len(targets), num_nearest), len(documents), dtype=np.int64)
        """(m, W) their places; N where there are fewer."""

    def look_at(self, block: NDArray[np.float32], first: int) -> None:
        """Take in the documents from place `first` on, given as unit vectors."""
        rough = self.directions @ block.T
        limits = self.cosines[:, self.num_nearest - 1].astype(np.float32)
        if np.isinf(limits).any() and rough.shape[1] >= self.num_nearest:
            part = rough[:, : max(FIRST_LOOK, 4 * self.num_nearest)]
            limits = np.maximum(limits, np.partition(part, -self.num_nearest, axis=1)[:, -self.num_nearest])
        flat = np.flatnonzero(rough >= (limits - self.room)[:, None])
        if len(flat):
            target, column = np.divmod(flat, rough.shape[1])
            self._join(target, first + column, rough.ravel()[flat])
            if self.cosines.shape[1] > 3 * self.num_nearest + 64:
                self.settle()

    def _join(self, target: Rows, places: Rows, rough: NDArray[np.float32]) -> None:
        """Join candidates, and leave out those that can no longer be among the nearest."""
        counts = np.bincount(target, minlength=len(self.targets))
        slots = self.cosines.shape[1] + np.arange(len(target)) - np.repeat(np.cumsum(counts) - counts, counts)
        added = ((0, 0), (0, int(counts.max())))
        cosines = np.pad(self.cosines.astype(np.float32), added, constant_values=-np.inf)
        joined = np.pad(self.places, added, constant_values=len(self.documents))
        cosines[target, slots], joined[target, slots] = rough, places
        order = np.argsort(-cosines, axis=1, kind="stable")
        cosines = np.take_along_axis(cosines, order, axis=1)
        reach = np.maximum(cosines[:, self.num_nearest - 1] - self.room, np.finfo(np.float32).min)
        width = max(self.num_nearest, int((cosines >= reach[:, None]).sum(axis=1).max()))
        self.cosines = cosines[:, :width]
        self.places = np.take_along_axis(joined, order[:, :width], axis=1)

    def settle(self) -> None:
        """Measure all candidates, and keep the nearest alone."""
        places = np.sort(self.places, axis=1)
        target, slot = np.nonzero(places < len(self.documents))
        cosines = np.full(places.shape, -np.inf)
        for chunk in range(0, len(target), PAIRS_AT_ONCE):
            pair = (target[chunk : chunk + PAIRS_AT_ONCE], slot[chunk : chunk + PAIRS_AT_ONCE])
            cosines[pair] = paired_cosines(self.table[self.documents[places[pair]]], self.targets[pair[0]])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, : self.num_nearest]
        self.cosines = np.take_along_axis(cosines, order, axis=1)
        self.places = np.take_along_axis(places, order, axis=1)


def directions(embedding: Embedding) -> NDArray[np.float32]:
    """(N, D) rows of length 1 in single precision; rows of zeros stay."""
    precise = embedding.astype(np.float64)
    lengths = np.sqrt(np.square(precise).sum(axis=1, keepdims=True))
    return (precise / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def paired_cosines(first: Embedding, second: Embedding) -> Reals:
    """(L,) cosine of each pair of rows, the same bits whatever else is measured with it; 0 where a row is all 0."""
    left, right = first.astype(np.float64), second.astype(np.float64)
    lengths = np.sqrt(np.square(left).sum(axis=1)) * np.sqrt(np.square(right).sum(axis=1))
    cosines: Reals = (left * right).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)
    return cosines


def mean_values(table: Embedding, documents: Rows, targets: Embedding, weights: Reals, value: Value) -> Reals:
    """Mean over targets of a value that falls with the rank a document has for each.

    Every rank counts, so nothing is cut off: time M * N * (D + log N), many times that of best ranks.

    Args:
        table: (P, D) as in `covering_ranks`.
        documents: (N,) as there.
        targets: (M, D) as there.
        weights: (M,) weight of each target; they sum to 1.
        value: `log` is log2(1 / rank), `reciprocal` is 1 / rank.

    Returns:
        (N,) means by place; high means similar.
    """
    ranks = np.arange(1, len(documents) + 1)
    worth = -np.log2(ranks) if value == "log" else 1.0 / ranks
    sums = np.zeros(len(documents))
    for target, weight in zip(targets, weights, strict=True):
        cosines = np.concatenate(list(_cosines_to(table, documents, target)))
        sums[np.argsort(-cosines, kind="stable")] += weight * worth
    return sums


def _cosines_to(table: Embedding, documents: Rows, target: Embedding) -> Iterator[Reals]:
    for chunk in range(0, len(documents), PAIRS_AT_ONCE):
        rows = table[documents[chunk : chunk + PAIRS_AT_ONCE]]
        yield paired_cosines(rows, np.broadcast_to(target, rows.shape))
