"""Nearest rows: exact neighbours of some rows of a table among all of them, numbers and categories together.

The squared distance is that of the numbers plus a fixed amount for every category in which two rows differ. A row is
no neighbour of itself, but its twins are. Few numeric columns are searched by a KD-tree. Otherwise a matrix product
in single precision finds candidates with the room its rounding needs, and these alone are measured: of equally
distant ones the smaller row comes first.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from curation.neighbors import check_enough

Rows = NDArray[np.int64]
Codes = NDArray[np.integer]

TREE_COLUMNS = 15
"""Columns up to which a KD-tree is searched: scikit-learn's own limit."""
QUERIES_AT_ONCE = 512
PROBE = 1024
POINTS_AT_ONCE = 2048
PAIRS_AT_ONCE = 1 << 16
"""Sizes of the blocks in which products are formed and candidates are measured; they change no result."""


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
    blocks = [asked[start : start + QUERIES_AT_ONCE] for start in range(0, len(asked), QUERIES_AT_ONCE)]
    # One thread for each block rather than several for each product: the products are small.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(lambda block: _of_block(space, block, num_neighbors), blocks))
    return np.concatenate([np.empty((0, num_neighbors), dtype=np.int64), *found])


def _by_tree(points: NDArray[np.floating], asked: Rows, num_neighbors: int) -> Rows:
    from sklearn.neighbors import KDTree

    found: Rows = KDTree(points, leaf_size=30).query(points[asked], num_neighbors + 1, return_distance=False)
    own = found == asked[:, None]
    # Among more twins than neighbours a row may not have found itself: then the last one goes.
    dropped = np.where(own.any(axis=1), own.argmax(axis=1), num_neighbors)
    stays = np.arange(num_neighbors + 1) != dropped[:, None]
    others: Rows = found[stays].reshape(len(asked), num_neighbors).astype(np.int64)
    return others


@dataclass(frozen=True, kw_only=True, eq=False)
class _Space:
    """Rows as they are measured, and as they are multiplied."""

    points: NDArray[np.floating]
    """(P, D) as given."""
    left: NDArray[np.float32]
    """(P, D + 1): -2 times the scaled numbers, and 1."""
    right: NDArray[np.float32]
    """(P, D + 1): the scaled numbers, and their squared length less its room."""
    lengths: NDArray[np.float64]
    """(P,) squared lengths of the scaled numbers, less their room."""
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


def _space(points: NDArray[np.floating], categories: Codes | None, mismatch: float) -> _Space:
    exact = points.astype(np.float64)
    exact -= exact.mean(axis=0)
    farthest = float(np.abs(exact).max(initial=0.0))
    scale = float(2.0 ** np.ceil(np.log2(farthest))) if farthest > 0 else 1.0
    exact /= scale
    precision = float(np.finfo(np.float32).eps)
    lengths = np.square(exact).sum(axis=1) * (1 - 2 * (points.shape[1] + 8) * precision)
    small = exact.astype(np.float32)
    ones = np.ones((len(points), 1), dtype=np.float32)
    num_categories = 0 if categories is None else categories.shape[1]
    return _Space(
        points=points,
        left=np.hstack([np.float32(-2) * small, ones]),
        right=np.hstack([small, lengths[:, None].astype(np.float32)]),
        lengths=lengths,
        scale=scale,
        room=1e-35 + 4 * precision * num_categories * mismatch / scale**2,
        categories=categories,
        columns=None if categories is None else _side_by_side(categories),
        mismatch=mismatch,
    )


def _side_by_side(categories: Codes) -> Codes:
    return np.ascontiguousarray(categories.T.astype(np.min_scalar_type(int(categories.max(initial=0)))))


def _of_block(space: _Space, asked: Rows, num_neighbors: int) -> Rows:
    """Lists of the rows asked for, from one block of points after another, each narrowing the search in the next."""
    found = _Lists.empty(len(asked), num_neighbors)
    begin, end = 0, max(PROBE, num_neighbors + 1)
    buffer = np.empty(len(asked) * max(end, POINTS_AT_ONCE), dtype=np.float32)
    while begin < len(space.points):
        rough = _rough(space, asked, slice(begin, end), buffer)
        limits = found.distances[:, -1]
        if begin == 0 and rough.shape[1] > num_neighbors + 1:
            limits = _first_limits(space, asked, rough, num_neighbors)
        # The queries' own lengths, the same for all points, are on the side of the limits.
        reach = limits / space.scale**2 * (1 + 1e-5) - space.lengths[asked] + space.room
        query, column = np.divmod(np.flatnonzero(rough <= reach.astype(np.float32)[:, None]), rough.shape[1])
        found = found.joined(query, begin + column, _measured(space, asked[query], begin + column))
        begin, end = end, end + POINTS_AT_ONCE
    return found.rows


class _Lists(NamedTuple):
    """For each query the nearest points so far, nearest first; infinitely far where there are too few."""

    rows: Rows
    distances: NDArray[np.float64]

    @classmethod
    def empty(cls, num_queries: int, num_neighbors: int) -> "_Lists":
        shape = (num_queries, num_neighbors)
        return cls(np.full(shape, -1, dtype=np.int64), np.full(shape, np.inf))

    def joined(self, query: Rows, row: Rows, measured: NDArray[np.float64]) -> "_Lists":
        """The lists with further points, ordered by query and then by row, all rows above those listed."""
        counts = np.bincount(query, minlength=len(self.rows))
        place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(self.rows), int(counts.max(initial=0)))
        rows, distances = np.full(shape, -1, dtype=np.int64), np.full(shape, np.inf)
        rows[query, place], distances[query, place] = row, measured
        rows, distances = np.hstack([self.rows, rows]), np.hstack([self.distances, distances])
        order = np.argsort(distances, axis=1, kind="stable")[:, : self.rows.shape[1]]
        return _Lists(np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1))


def _rough(space: _Space, asked: Rows, block: slice, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
    """(Q, B) what the scaled squared distances are at least, without the queries' own lengths."""
    points = space.right[block]
    rough = buffer[: len(asked) * len(points)].reshape(len(asked), len(points))
    np.matmul(space.left[asked], points.T, out=rough)
    if space.columns is not None:
        rough += np.float32(space.mismatch / space.scale**2) * _num_mismatches(space.columns, asked, block)
    return rough


def _first_limits(space: _Space, asked: Rows, rough: NDArray[np.float32], num_neighbors: int) -> NDArray[np.float64]:
    """(Q,) squared distance within which each query has at least k of the first points other than itself."""
    least = np.partition(rough, num_neighbors, axis=1)[:, num_neighbors]
    query, near = np.divmod(np.flatnonzero(rough <= least[:, None]), rough.shape[1])
    lists = _Lists.empty(len(asked), num_neighbors)
    return lists.joined(query, near, _measured(space, asked[query], near)).distances[:, -1]


def _num_mismatches(columns: Codes, asked: Rows, block: slice) -> NDArray[np.integer]:
    counts = np.zeros((len(asked), columns[:, block].shape[1]), dtype=np.min_scalar_type(len(columns)))
    differs = np.empty(counts.shape, dtype=np.bool_)
    for column in columns:
        np.not_equal(column[asked][:, None], column[block], out=differs)
        counts += differs
    return counts


def _measured(space: _Space, first: Rows, second: Rows) -> NDArray[np.float64]:
    """(L,) squared distance of each pair of rows; infinite from a row to itself."""
    measured = np.empty(len(first))
    for start in range(0, len(first), PAIRS_AT_ONCE):
        one, other = first[start : start + PAIRS_AT_ONCE], second[start : start + PAIRS_AT_ONCE]
        apart = space.points[one].astype(np.float64, copy=False)
        apart -= space.points[other]
        part = np.einsum("ij,ij->i", apart, apart)
        if space.categories is not None:
            part += space.mismatch * (space.categories[one] != space.categories[other]).sum(axis=1)
        measured[start : start + PAIRS_AT_ONCE] = part
    measured[first == second] = np.inf
    return measured
