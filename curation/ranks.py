"""Orders and whole-number budgets: which examples come first, and how many of them are meant."""

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray


def ascending(values: NDArray[np.floating], ids: pl.Series) -> NDArray[np.int64]:
    """Positions from the lowest value to the highest; equal values follow their ids.

    Args:
        values: (N,) finite numbers.
        ids: (N,) distinct example ids, compared as texts.

    Returns:
        (N,) positions. The ids they name do not depend on the order of the rows.
    """
    order: NDArray[np.int64] = np.lexsort((id_ranks(ids), values)).astype(np.int64)
    return order


def descending(values: NDArray[np.floating], ids: pl.Series) -> NDArray[np.int64]:
    """Positions from the highest value to the lowest; equal values follow their ids, as in `ascending`."""
    return ascending(-values, ids)


def id_ranks(ids: pl.Series) -> NDArray[np.int64]:
    """(N,) place of each id, counted from 0, when they are sorted as texts: what breaks every tie."""
    ranks: NDArray[np.int64] = ids.rank("ordinal").to_numpy().astype(np.int64) - 1
    return ranks


def by_id(ids: pl.Series) -> NDArray[np.int64]:
    """(N,) positions in the order of the ids, compared as texts."""
    return ascending(np.zeros(len(ids)), ids)


def budget(fraction: float, num_examples: int) -> int:
    """How many examples a fraction of N means: fraction * N rounded to the nearest, halves up."""
    return math.floor(fraction * num_examples + 0.5)


def merged_sorted(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N + M,) sorted values of two sorted arrays, in time N + M log N."""
    merged: NDArray[np.float64] = np.insert(first, np.searchsorted(first, second), second)
    return merged


def percentile_ranks(values: NDArray[np.floating], ordered: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of a set that lies below each value, equal ones counting by half.

    Args:
        values: (M,) finite numbers.
        ordered: (N,) the set's values in ascending order, N at least 1.

    Returns:
        (M,) shares in [0, 1]; (r - 0.5) / N for the r-th smallest of distinct values.
    """
    below = np.searchsorted(ordered, values, "left")
    not_above = np.searchsorted(ordered, values, "right")
    shares: NDArray[np.float64] = (below + not_above) / (2 * len(ordered))
    return shares
