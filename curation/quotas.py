"""Quotas: how few and how many of each group a selection may hold, and why that may be impossible."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from curation.bounds import Bounds, Ints, Unions, nearest
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


def without_quotas(num_examples: int, budget: int) -> Bounds:
    """Bounds that bind nothing: one group of all examples."""
    return Bounds(
        names=("all",),
        groups=np.zeros(num_examples, dtype=np.int64),
        lower=np.zeros(1, dtype=np.int64),
        upper=np.array([budget], dtype=np.int64),
    )


def bounds_for(quotas: Quotas | Sequence[Quotas] | None, signals: Signals, budget: int) -> Bounds:
    """Quotas in whole numbers for these examples.

    Args:
        quotas: one set of groups or several, all of which are to be met; None for no bounds.
        signals: must hold what the quotas are over.
        budget: how many examples are to be selected.

    Returns:
        Bounds that some selection of that size meets.

    Raises:
        ValueError: a signal is missing, a group named in the quotas does not exist, two quotas are over the same
            signals, or no selection meets the bounds; the message names what conflicts and the nearest feasible.
    """
    each = several(quotas)
    if not each:
        return without_quotas(len(signals), budget)
    found = [_bounds_of_one(one, signals, budget) for one in each]
    return found[0] if len(found) == 1 else _together(each, found, budget)


def several(quotas: Quotas | Sequence[Quotas] | None) -> tuple[Quotas, ...]:
    """Quotas as a tuple, each over signals of its own.

    Raises:
        ValueError: two are over the same signals, or the list is empty.
        TypeError: they are something else.
    """
    each = () if quotas is None else (quotas,) if isinstance(quotas, Quotas) else tuple(quotas)
    if quotas is not None and not each:
        raise ValueError("an empty list of quotas has no effect; leave it out")
    if not all(isinstance(one, Quotas) for one in each):
        raise TypeError(f"quotas must be Quotas, or several of them, got {quotas!r}")
    signals = [frozenset(one.over) for one in each]
    for place, one in enumerate(each):
        if signals.index(frozenset(one.over)) < place:
            raise ValueError(f"quotas over {_over(one)} are given twice; give their bounds in one place")
    return each


def told(quotas: Quotas | Sequence[Quotas] | None) -> str:
    """What a selection within these quotas is said to be within; empty for none."""
    each = several(quotas)
    return f" within quotas over {_over_all(each)}" if each else ""


def _bounds_of_one(quotas: Quotas, signals: Signals, budget: int) -> Bounds:
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


def _together(each: Sequence[Quotas], found: Sequence[Bounds], budget: int) -> Bounds:
    """Bounds of several quotas as bounds on unions of their crossings."""
    starts = np.cumsum([0, *(len(one.names) for one in found[:-1])])
    groups, first = _dense([one.groups for one in found])
    members = np.stack([one.groups[first] + start for one, start in zip(found, starts, strict=True)])
    names = tuple(f"{name} ({_over(quotas)})" for quotas, one in zip(each, found, strict=True) for name in one.names)
    entry = (members.ravel(), np.tile(np.arange(members.shape[1]), len(members)))
    unions = Unions(
        names=names,
        members=csr_array((np.ones(members.size), entry), shape=(len(names), members.shape[1])),
        lower=np.concatenate([one.lower for one in found]),
        upper=np.concatenate([one.upper for one in found]),
    )
    sizes = np.bincount(groups)
    free = Bounds(
        names=tuple(" and ".join(names[union] for union in one) for one in members.T),
        groups=groups,
        lower=np.zeros_like(sizes),
        upper=sizes,
    )
    bounds = replace(free, unions=unions)
    if not bounds.allow(free.lower, budget):
        problem = f"quotas over {_over_all(each)} cannot be met together by {budget} examples"
        raise ValueError(f"{problem}: {_nearest(free, unions, budget)}")
    return bounds


def _nearest(free: Bounds, unions: Unions, budget: int) -> str:
    """The least changes that make overlapping bounds feasible, in words."""
    changed = nearest(free, unions, budget)
    if changed is None:
        return "what would do was not found in a minute; leave one of them out"
    lower, upper = changed
    changes = [
        f"the {what} of {name} is {old} (nearest feasible: {new})"
        for what, before, after in (("floor", unions.lower, lower), ("ceiling", unions.upper, upper))
        for name, old, new in zip(unions.names, before, after, strict=True)
        if old != new
    ]
    return " and ".join(changes)


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
        if low > high and high < size:
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
    groups, first = _dense(columns)
    called = [_called(signals.categories.get(name, ())) for name in over]
    names = tuple(",".join(of(int(one[row])) for of, one in zip(called, columns, strict=True)) for row in first)
    numbers = tuple(",".join(str(column[row]) for column in columns) for row in first)
    return names, numbers, groups


def _dense(columns: Sequence[NDArray[np.integer]]) -> tuple[Ints, Ints]:
    """(N,) number of each row's crossing of the columns, counted from 0 in their order, and a row of each crossing."""
    crossings = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, codes = np.unique(column, return_inverse=True)
        crossings = crossings * len(values) + codes
    _, first, dense = np.unique(crossings, return_index=True, return_inverse=True)
    return dense.astype(np.int64), first.astype(np.int64)


def _called(names: Sequence[str]) -> Callable[[int], str]:
    """What a value is called: its number where it has no name."""
    return lambda value: names[value] if 0 <= value < len(names) else str(value)


def _over(quotas: Quotas) -> str:
    return " and ".join(quotas.over)


def _over_all(each: Sequence[Quotas]) -> str:
    return ", and over ".join(map(_over, each))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
