"""Allocation: how many of a budget each of several parts gets, in whole numbers that add up."""

import numpy as np
from numpy.typing import NDArray


def equal_shares(sizes: NDArray[np.integer], budget: int) -> NDArray[np.int64]:
    """As equal a share of the budget for every part as their sizes allow.

    The parts are served from the smallest to the largest (equal ones in order), each getting what
    is left divided by the parts left, rounded down, or all it has: what a small part cannot use
    goes to the larger ones.

    Args:
        sizes: (G,) number of examples in each part.
        budget: how many are to be chosen, in [0, sum of sizes].

    Returns:
        (G,) shares, none above its size, with the budget as sum.

    Raises:
        ValueError: the parts hold fewer than the budget.
    """
    _check_budget(sizes, budget)
    shares = np.zeros(len(sizes), dtype=np.int64)
    left = budget
    for served, part in enumerate(np.argsort(sizes, kind="stable")):
        shares[part] = min(int(sizes[part]), left // (len(sizes) - served))
        left -= int(shares[part])
    return shares


def proportional_shares(sizes: NDArray[np.integer], budget: int) -> NDArray[np.int64]:
    """Shares of the budget in proportion to the sizes, by largest remainder.

    Args:
        sizes: (G,) number of examples in each part.
        budget: how many are to be chosen, in [0, sum of sizes].

    Returns:
        (G,) shares, none above its size, with the budget as sum; equal remainders favour the
        earlier part.

    Raises:
        ValueError: the parts hold fewer than the budget.
    """
    _check_budget(sizes, budget)
    total = max(int(sizes.sum()), 1)
    exact = [int(size) * budget for size in sizes]
    shares = np.array([number // total for number in exact], dtype=np.int64)
    remainders = np.array([number % total for number in exact])
    shares[np.argsort(-remainders, kind="stable")[: budget - int(shares.sum())]] += 1
    return shares


def rounded_to_sum(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers near some values, with their sum.

    Args:
        values: (G,) numbers whose sum is whole up to rounding errors.

    Returns:
        (G,) numbers, each less than 1 from its value. Where rounding each to the nearest misses
        the sum, those are changed that rounding had moved furthest the other way; where several
        tie, the last of them are raised and the first lowered.
    """
    nearest = np.rint(values)
    missing = int(np.rint(values.sum() - nearest.sum()))
    order = np.argsort(values - nearest, kind="stable")
    if missing > 0:
        nearest[order[len(order) - missing :]] += 1
    elif missing < 0:
        nearest[order[:-missing]] -= 1
    return nearest.astype(np.int64)


def _check_budget(sizes: NDArray[np.integer], budget: int) -> None:
    if not 0 <= budget <= sizes.sum():
        raise ValueError(f"the budget must be in [0, {sizes.sum()}], the size of all parts together, got {budget}")
