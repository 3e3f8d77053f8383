"""Nearest rows: exact neighbours of some rows of a table among all of them, numbers and categories together.

The squared distance is that of the numbers plus a fixed amount for every category in which two rows differ. A row is
no neighbour of itself, but its twins are. Few numeric columns are searched by a KD-tree. Otherwise matrix products
in single precision bound the distances from both sides, with the room that rounding needs, and only pairs that may be
among the nearest are measured: of equally distant rows the smaller comes first.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from curation.distances import check_enough, squared_distances, summed_squares

Rows = NDArray[np.int64]
Codes = NDArray[np.integer]
Number = TypeVar("Number", bound=np.generic)

TREE_COLUMNS = 15
"""Columns up to which a KD-tree is searched: scikit-learn's own limit."""
ROWS_AT_ONCE = 1024
PART_ROWS = 512
PAIRS_AT_ONCE = 1 << 15
GROUPED = 16
"""Rows in a block, rows of it that are multiplied at once, pairs that may wait or are measured at once, and columns of
which the least stands for all in a first guess; they change no result."""


def nearest_rows(
    points: NDArray[np.floating],
    asked: Rows,
    num_neighbors: int,
    categories: Codes | None = None,
    mismatch: float = 0.0,
) -> Rows:
    """The nearest other rows of each row asked for.

    Args:
        points: (P, D) finite numbers.
        asked: (Q,) rows of them.
        num_neighbors: k, at least 1 and below P.
        categories: (P, C) codes, or None.
        mismatch: what each category in which two rows differ adds to their squared distance, at least 0.

    Returns:
        (Q, k) rows, nearest first.

    Raises:
        ValueError: there are not more than k rows.
    """
    check_enough(len(points), num_neighbors)
    if categories is None and 0 < points.shape[1] <= TREE_COLUMNS:
        return _by_tree(points, asked, num_neighbors)
    space = _space(points, categories, mismatch)
    # One thread for each pair of blocks rather than several for each product: the products are small.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        if 2 * len(asked) > len(points):
            return _of_all(_searches(space, num_neighbors), 0, threads).rows[asked]
        return _of_some(space, asked, num_neighbors, threads)


def nearest_lists(
    points: NDArray[np.floating], num_neighbors: int, ranks: Rows, known: "Lists | None" = None
) -> "Lists":
    """The nearest other rows of every row, from nothing or from what the first of them have among themselves.

    Args:
        points: (P, D) finite numbers.
        num_neighbors: k, at least 1 and below P.
        ranks: (P,) distinct numbers: of equally distant rows the one with the smaller number comes first.
        known: lists of the first N rows; only pairs with a further row are compared then.

    Raises:
        ValueError: there are not more than k rows.
    """
    check_enough(len(points), num_neighbors)
    space = replace(_space(points, None, 0.0), ranks=ranks)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        if known is None:
            return _of_all(_searches(space, num_neighbors), 0, threads)
        begun = [
            _Search.begun(space, block, Lists(known.rows[block], known.squared_distances[block]))
            for block in _blocks(np.arange(len(known.rows)))
        ]
        return _of_all(begun + _searches(space, num_neighbors, len(known.rows)), len(begun), threads)


class Lists(NamedTuple):
    """For each of Q rows its k nearest others, nearest first."""

    rows: Rows
    """(Q, k) rows."""
    squared_distances: NDArray[np.float64]
    """(Q, k) their squared distances."""


def _by_tree(points: NDArray[np.floating], asked: Rows, num_neighbors: int) -> Rows:
    from sklearn.neighbors import KDTree

    found: Rows = KDTree(points, leaf_size=30).query(points[asked], num_neighbors + 1, return_distance=False)
    own = found == asked[:, None]
    # Among more twins than neighbours a row may not have found itself: then the last one goes.
    dropped = np.where(own.any(axis=1), own.argmax(axis=1), num_neighbors)
    stays = np.arange(num_neighbors + 1) != dropped[:, None]
    others: Rows = found[stays].reshape(len(asked), num_neighbors).astype(np.int64)
    return others


def _of_some(space: "_Space", asked: Rows, num_neighbors: int, threads: ThreadPoolExecutor) -> Rows:
    """The lists of the rows asked for, block by block, each from one block of all rows after another."""

    def search(block: Rows) -> Rows:
        found, bench = _Search(space=space, rows=block, num_neighbors=num_neighbors), _Bench()
        for begin in range(0, len(space.points), ROWS_AT_ONCE):
            found.meet(slice(begin, begin + ROWS_AT_ONCE), None, bench)
        return found.lists().rows

    return np.concatenate([np.empty((0, num_neighbors), dtype=np.int64), *threads.map(search, _blocks(asked))])


def _of_all(searches: Sequence["_Search"], num_begun: int, threads: ThreadPoolExecutor) -> Lists:
    """The lists of all rows, where each product of two blocks serves both; the begun ones have met each other."""
    number, at_hand = len(searches), threading.local()

    def compare(one: int, other: int) -> None:
        if not hasattr(at_hand, "bench"):
            at_hand.bench = _Bench()
        rows = searches[other].rows
        block = slice(int(rows[0]), int(rows[-1]) + 1)
        searches[one].meet(block, searches[other] if other != one else None, at_hand.bench)

    # Each block with itself at first, so that all have limits when they meet others.
    list(threads.map(compare, range(num_begun, number), range(num_begun, number)))
    pairs = [(place, place + apart) for apart in range(1, number) for place in range(number - apart)]
    list(threads.map(lambda pair: compare(*pair), [pair for pair in pairs if pair[1] >= num_begun]))
    parts = list(threads.map(_Search.lists, searches))
    return Lists(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _searches(space: "_Space", num_neighbors: int, first: int = 0) -> list["_Search"]:
    """A search for each block of rows from the first on."""
    blocks = _blocks(np.arange(first, len(space.points)))
    return [_Search(space=space, rows=block, num_neighbors=num_neighbors) for block in blocks]


def _blocks(rows: Rows) -> list[Rows]:
    return [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]


class _Bench:
    """Memory in which one thread forms products, used again for each of them."""

    def __init__(self) -> None:
        self._products = np.empty(PART_ROWS * ROWS_AT_ONCE, dtype=np.float32)
        self._flags = np.empty(PART_ROWS * ROWS_AT_ONCE, dtype=np.bool_)

    def product(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
        """(F, S) products of the rows of both."""
        shape = len(left), len(right)
        return np.matmul(left, right.T, out=self._products[: shape[0] * shape[1]].reshape(shape))

    def at_most(
        self, products: NDArray[np.float32], reach: NDArray[np.float32]
    ) -> tuple[Rows, Rows, NDArray[np.float32]]:
        """Rows, columns and values of the entries that are not above what `reach` says for their row or column."""
        flags = np.less_equal(products, reach, out=self._flags[: products.size].reshape(products.shape))
        places = np.flatnonzero(flags)
        return *np.divmod(places, products.shape[1]), products.ravel()[places]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Space:
    """Rows as they are measured, and as they are multiplied."""

    points: NDArray[np.floating]
    """(P, D) as given."""
    left: NDArray[np.float32]
    """(P, D + 2): -2 times the scaled numbers, their squared length less its room, and 1."""
    right: NDArray[np.float32]
    """(P, D + 2): the scaled numbers, 1, and their squared length less its room."""
    slack: NDArray[np.float32]
    """(P,) a row's part in how far a distance may be above what it is at least."""
    scale: float
    """What the numbers were divided by, after their mean was taken away."""
    room: float
    """Further room for roundings that do not grow with the lengths."""
    categories: Codes | None
    """(P, C) codes, or None."""
    columns: Codes | None
    """(C, P) the same, each category's codes side by side, in the smallest type."""
    mismatch: float
    """What a differing category adds to a squared distance as given."""
    ranks: Rows | None = None
    """(P,) of equally distant rows the one with the smaller number comes first; None for the smaller row."""

    @property
    def step(self) -> np.float32:
        """What it adds to a scaled squared distance."""
        return np.float32(self.mismatch / self.scale**2)


def _space(points: NDArray[np.floating], categories: Codes | None, mismatch: float) -> _Space:
    exact = points.astype(np.float64)
    exact -= exact.mean(axis=0)
    farthest = float(np.abs(exact).max(initial=0.0))
    scale = float(2.0 ** np.ceil(np.log2(farthest))) if farthest > 0 else 1.0
    exact /= scale
    precision = float(np.finfo(np.float32).eps)
    rounding = 2 * (points.shape[1] + 8) * precision
    lengths = np.einsum("ij,ij->i", exact, exact)[:, None]
    short = (lengths * (1 - rounding)).astype(np.float32)
    small, ones = exact.astype(np.float32), np.ones((len(points), 1), dtype=np.float32)
    num_categories = 0 if categories is None else categories.shape[1]
    return _Space(
        points=points,
        left=np.hstack([np.float32(-2) * small, short, ones]),
        right=np.hstack([small, ones, short]),
        slack=(3 * rounding * lengths[:, 0]).astype(np.float32),
        scale=scale,
        room=1e-35 + 4 * precision * num_categories * mismatch / scale**2,
        categories=categories,
        columns=None if categories is None else _side_by_side(categories),
        mismatch=mismatch,
    )


def _side_by_side(categories: Codes) -> Codes:
    return np.ascontiguousarray(categories.T.astype(np.min_scalar_type(int(categories.max(initial=0)))))


class _Candidates(NamedTuple):
    """Pairs of a query and a row that have not been measured, and what their scaled squared distance is at least."""

    query: Rows
    row: Rows
    least: NDArray[np.float32]


def _gathered(parts: Sequence[_Candidates]) -> _Candidates:
    query, row, least = zip(*parts, strict=True)
    return _Candidates(np.concatenate(query), np.concatenate(row), np.concatenate(least))


@dataclass(kw_only=True, eq=False)
class _Search:
    """A block of queries on its way through the rows: what was measured, and what may have to be."""

    space: _Space
    rows: Rows
    """(Q,) rows that are the queries."""
    num_neighbors: int
    nearest: Rows = field(init=False)
    """(Q, k) the nearest rows measured so far, -1 where there are too few."""
    distances: NDArray[np.float64] = field(init=False)
    """(Q, k) their squared distances, or infinity."""
    limits: NDArray[np.float32] = field(init=False)
    """(Q, k) what the scaled squared distances of k rows are at most; the greatest is last."""
    waiting: list[_Candidates] = field(init=False, default_factory=list)
    """Pairs that were not measured yet."""
    lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        shape = (len(self.rows), self.num_neighbors)
        self.nearest, self.distances = np.full(shape, -1, dtype=np.int64), np.full(shape, np.inf)
        self.limits = np.full(shape, np.inf, dtype=np.float32)

    @classmethod
    def begun(cls, space: _Space, rows: Rows, lists: Lists) -> "_Search":
        """A search that has met the rows of these lists."""
        search = cls(space=space, rows=rows, num_neighbors=lists.rows.shape[1])
        search._keep(lists.rows, lists.squared_distances)
        return search

    def meet(self, block: slice, other: "_Search | None", bench: _Bench) -> None:
        """Note which of a block of rows may be among the nearest, and draw the limits closer.

        Args:
            block: rows that have not been here before.
            other: the search in which these rows are the queries, to which the same is done; its limits are finite.
            bench: where products are formed.
        """
        ours, theirs, begin = [], [], block.start
        for start in range(0, len(self.rows), PART_ROWS):
            rows = self.rows[start : start + PART_ROWS]
            rough = bench.product(self.space.left[rows], self.space.right[block])
            if self.space.columns is not None:
                rough += self.space.step * _num_mismatches(self.space.columns, rows, block)
            query, column, least = bench.at_most(rough, self._reach(rough, start, begin, bench)[:, None])
            ours.append(_Candidates(start + query, begin + column, least))
            if other is not None:
                row, query, least = bench.at_most(rough, other.limits[:, -1])
                theirs.append(_Candidates(query, rows[row], least))
        self._note(ours)
        if other is not None:
            other._note(theirs)

    def _reach(self, rough: NDArray[np.float32], start: int, begin: int, bench: _Bench) -> NDArray[np.float32]:
        """How far queries from `start` on have to look; limits of a moment ago only admit more than they need to."""
        reach = self.limits[start : start + len(rough), -1]
        if np.isinf(reach).any():
            query, column, least = bench.at_most(rough, _least(rough, self.num_neighbors + 1)[:, None])
            likely = self._others(_Candidates(start + query, begin + column, least))
            reach = np.minimum(reach, self._closer(likely)[start : start + len(rough), -1])
        return reach

    def _note(self, parts: Sequence[_Candidates]) -> None:
        near = self._others(_gathered(parts))
        with self.lock:
            self.limits = self._closer(near)
            self.waiting.append(near)
            if sum(len(one.row) for one in self.waiting) > PAIRS_AT_ONCE:
                self._measure()

    def _others(self, near: _Candidates) -> _Candidates:
        """The pairs without those of a row with itself, by ascending queries."""
        there = np.flatnonzero(near.row != self.rows[near.query])
        there = there[np.argsort(near.query[there], kind="stable")]
        return _Candidates(near.query[there], near.row[there], near.least[there])

    def lists(self) -> Lists:
        """The nearest of all rows that were noted."""
        if self.waiting:
            self._measure()
        return Lists(self.nearest, self.distances)

    def _closer(self, near: _Candidates) -> NDArray[np.float32]:
        """The limits with further rows."""
        slack = self.space.slack
        most = near.least + slack[near.row] + slack[self.rows[near.query]] + np.float32(2 * self.space.room)
        both = np.hstack([self.limits, _side_by_side_of(near.query, most, len(self.rows), np.inf)])
        return np.partition(both, self.num_neighbors - 1, axis=1)[:, : self.num_neighbors]

    def _measure(self) -> None:
        """Measure what waits and is still within the limits, and keep the nearest."""
        query, row, least = _gathered(self.waiting)
        there = np.flatnonzero(least <= self.limits[query, -1])
        there = there[np.argsort(query[there], kind="stable")]
        query, row = query[there], row[there]
        measured = _measured(self.space, self.rows[query], row)
        rows = np.hstack([self.nearest, _side_by_side_of(query, row, len(self.rows), -1)])
        distances = np.hstack([self.distances, _side_by_side_of(query, measured, len(self.rows), np.inf)])
        # A missing neighbour, of row -1, comes last whatever its rank: its distance alone is infinite.
        ranks = rows if self.space.ranks is None else self.space.ranks[rows]
        order = np.lexsort((ranks, distances), axis=1)[:, : self.num_neighbors]
        self._keep(*(np.take_along_axis(one, order, axis=1) for one in (rows, distances)))
        self.waiting = [_Candidates(query[:0], row[:0], least[:0])]

    def _keep(self, nearest: Rows, distances: NDArray[np.float64]) -> None:
        """Take these for the nearest so far."""
        self.nearest, self.distances = nearest, distances
        self.limits = (distances / self.space.scale**2 * (1 + 1e-5) + self.space.room).astype(np.float32)


def _least(rough: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """(Q,) a value that at least so many of each query's entries do not exceed, and few more; infinity if too few."""
    groups = rough.shape[1] // GROUPED
    if groups >= number:
        rough = rough[:, : groups * GROUPED].reshape(len(rough), GROUPED, groups).min(axis=1)
    if rough.shape[1] < number:
        return np.full(len(rough), np.inf, dtype=np.float32)
    return np.partition(rough, number - 1, axis=1)[:, number - 1]


def _side_by_side_of(query: Rows, values: NDArray[Number], num_queries: int, filling: float) -> NDArray[Number]:
    """(Q, most) the values of each query in a row of its own, filled up where it has fewer; queries ascend."""
    counts = np.bincount(query, minlength=num_queries)
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((num_queries, int(counts.max(initial=0))), filling, dtype=values.dtype)
    found[query, place] = values
    return found


def _num_mismatches(columns: Codes, first: Rows, second: slice) -> NDArray[np.integer]:
    """(F, S) in how many categories rows differ from those of a block."""
    counts = np.zeros((len(first), columns[:, second].shape[1]), dtype=np.min_scalar_type(len(columns)))
    differs = np.empty(counts.shape, dtype=np.bool_)
    for column in columns:
        np.not_equal(column[first][:, None], column[second], out=differs)
        counts += differs
    return counts


def _measured(space: _Space, first: Rows, second: Rows) -> NDArray[np.float64]:
    """(L,) squared distance of each pair of rows; infinite from a row to itself."""
    measured = np.empty(len(first))
    for start in range(0, len(first), PAIRS_AT_ONCE):
        one, other = first[start : start + PAIRS_AT_ONCE], second[start : start + PAIRS_AT_ONCE]
        part = (summed_squares if space.ranks is None else squared_distances)(space.points[one], space.points[other])
        if space.categories is not None:
            part += space.mismatch * (space.categories[one] != space.categories[other]).sum(axis=1)
        measured[start : start + PAIRS_AT_ONCE] = part
    measured[first == second] = np.inf
    return measured
