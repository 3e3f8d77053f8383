"""Quotas: how few and how many of each group a selection may hold, and why that may be impossible."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.values import Signals


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """Floors and ceilings over the groups that one or several signals form.

    With several signals the groups are their crossings, written `cat,rare` by the names of the
    values, where those are known, or `2,0` for value 2 of the first and 0 of the second. Shares are
    of a group's proportional part: budget * its size / N.
    """

    over: tuple[str, ...]
    """Signals of whole numbers, such as `label`, whose values (or crossings) are the groups."""
    floor: float = 0.0
    """Least share of its proportional part that each group gets, at least 0; rounded down."""
    ceiling: float | None = None
    """Largest share of its proportional part, at least 1; rounded up. None for no bound."""
    floors: Mapping[str, int] = field(default_factory=dict)
    """Least number of examples for single groups by name, in place of `floor`."""
    ceilings: Mapping[str, int] = field(default_factory=dict)
    """Largest number of examples for single groups by name, in place of `ceiling`."""

    def __post_init__(self) -> None:
        if not self.over:
            raise ValueError("quotas need at least one signal in 'over', such as label")
        if self.floor < 0:
            raise ValueError(f"floor must be at least 0, got {self.floor}")
        if self.ceiling is not None and self.ceiling < 1:
            raise ValueError(f"ceiling must be at least 1, got {self.ceiling}")
        for name, bounds in (("floors", self.floors), ("ceilings", self.ceilings)):
            for group, bound in bounds.items():
                if bound < 0:
                    raise ValueError(f"{name}.{group} must be at least 0, got {bound}")
        if not self.floor and self.ceiling is None and not self.floors and not self.ceilings:
            raise ValueError("quotas without a floor or a ceiling have no effect")


@dataclass(frozen=True, kw_only=True, eq=False)
class Bounds:
    """Quotas worked out for N examples in G groups."""

    names: tuple[str, ...]
    """Names of the G groups."""
    groups: NDArray[np.int64]
    """(N,) group of each example."""
    lower: NDArray[np.int64]
    """(G,) least number of each group."""
    upper: NDArray[np.int64]
    """(G,) largest number of each group."""


def without_quotas(num_examples: int, budget: int) -> Bounds:
    """Bounds that bind nothing: one group of all examples."""
    return Bounds(
        names=("all",),
        groups=np.zeros(num_examples, dtype=np.int64),
        lower=np.zeros(1, dtype=np.int64),
        upper=np.array([budget], dtype=np.int64),
    )


def bounds_for(quotas: Quotas | None, signals: Signals, budget: int) -> Bounds:
    """Quotas in whole numbers for these examples.

    Args:
        quotas: None for no bounds.
        signals: must hold what the quotas are over.
        budget: how many examples are to be selected.

    Returns:
        Bounds that some selection of that size meets.

    Raises:
        ValueError: a signal is missing, a group named in the quotas does not exist, or no
            selection meets the bounds; the message names what conflicts and the nearest feasible.
    """
    if quotas is None:
        return without_quotas(len(signals), budget)
    names, numbers, groups = _groups(signals, quotas.over)
    sizes = np.bincount(groups, minlength=len(names))
    parts = budget * sizes / max(1, len(signals))
    # Parts such as 0.8 * 5 may miss a whole number by a rounding error.
    lower = np.floor(quotas.floor * parts + 1e-9).astype(np.int64)
    upper = sizes.copy() if quotas.ceiling is None else np.ceil(quotas.ceiling * parts - 1e-9).astype(np.int64)
    for what, given, bounds in (("floors", quotas.floors, lower), ("ceilings", quotas.ceilings, upper)):
        for name, bound in given.items():
            known = names if name in names else numbers
            if known.count(name) != 1:
                problem = "names several groups" if known.count(name) else "is no group"
                raise ValueError(f"{what}: {name!r} {problem} of {_over(quotas)}; groups are {_listed(names)}")
            bounds[known.index(name)] = bound
    problems = conflicts(names, sizes, lower, upper, budget)
    if problems:
        raise ValueError(f"quotas over {_over(quotas)} cannot be met: {'; '.join(problems)}")
    return Bounds(names=names, groups=groups, lower=lower, upper=np.minimum(upper, sizes))


def conflicts(
    names: Sequence[str],
    sizes: NDArray[np.integer],
    lower: NDArray[np.integer],
    upper: NDArray[np.integer],
    budget: int,
) -> list[str]:
    """Why no selection of a size meets some bounds; empty where one does.

    Returns:
        One clause per conflict, each with the nearest value that would do.
    """
    found = []
    for name, size, low, high in zip(names, sizes, lower, upper, strict=True):
        if low > size:
            found.append(f"group {name} has {size} examples, its floor is {low} (nearest feasible: {size})")
        if low > high:
            found.append(f"group {name} has the floor {low} above its ceiling {high} (nearest feasible floor: {high})")
    least, most = int(lower.sum()), int(np.minimum(upper, sizes).sum())
    if least > budget:
        found.append(
            f"the floors add up to {least}, the budget is {budget} "
            f"(lower the floors by {least - budget} in all, or raise the budget to {least})"
        )
    if most < budget:
        found.append(
            f"the ceilings and sizes leave room for {most}, the budget is {budget} "
            f"(raise the ceilings by {budget - most} in all, or lower the budget to {most})"
        )
    return found


def best_within(order: NDArray[np.int64], bounds: Bounds, budget: int) -> NDArray[np.int64]:
    """The first examples of an order that the bounds allow: exact where an example's worth is its own.

    Every group first gets its floor; the rest follows the order, up to the ceilings.

    Args:
        order: (N,) positions, best first.
        bounds: feasible for the budget.
        budget: how many to choose.

    Returns:
        (M,) positions in that order.
    """
    groups = bounds.groups[order]
    by_group = np.argsort(groups, kind="stable")
    sorted_groups = groups[by_group]
    place = np.empty(len(order), dtype=np.int64)
    place[by_group] = np.arange(len(order)) - np.searchsorted(sorted_groups, sorted_groups)
    chosen = place < bounds.lower[groups]
    allowed = np.flatnonzero(~chosen & (place < bounds.upper[groups]))
    chosen[allowed[: budget - int(chosen.sum())]] = True
    return order[chosen]


def _groups(signals: Signals, over: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.int64]]:
    """G names by what values are called, G names by their numbers, and the (N,) group of each example."""
    columns = []
    for name in over:
        column = np.asarray(signals[name])
        if column.ndim != 1 or not np.issubdtype(column.dtype, np.integer):
            raise TypeError(
                f"quotas need whole numbers, one an example; signal {name!r} is {column.dtype} {column.shape}"
            )
        columns.append(column)
    groups = np.zeros(len(signals), dtype=np.int64)
    for column in columns:
        values, codes = np.unique(column, return_inverse=True)
        groups = groups * len(values) + codes
    _, first, dense = np.unique(groups, return_index=True, return_inverse=True)
    called = [_called(signals.categories.get(name, ())) for name in over]
    names = tuple(",".join(of(int(one[row])) for of, one in zip(called, columns, strict=True)) for row in first)
    numbers = tuple(",".join(str(column[row]) for column in columns) for row in first)
    return names, numbers, dense.astype(np.int64)


def _called(names: Sequence[str]) -> Callable[[int], str]:
    """What a value is called: its number where it has no name."""
    return lambda value: names[value] if 0 <= value < len(names) else str(value)


def _over(quotas: Quotas) -> str:
    return " and ".join(quotas.over)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
