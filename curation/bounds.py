"""Bounds on how many of each group a selection holds, and the choice within them.

Groups are disjoint. Bounds on unions of groups overlap, such as those on classes and on languages where the groups are
their crossings; whether a selection meets these, and which is best, is asked of integer and linear programs (HiGHS, by
scipy).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds as Between
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csr_array, hstack, identity, vstack

Ints = NDArray[np.int64]

SOLVED, INFEASIBLE = 0, 2
"""Outcomes of scipy's programs."""
FIRST_BLOCKS = 2048
"""About how many blocks of examples the choice within overlapping bounds begins with."""
PARTS = 4
"""Parts into which a block is split."""
WHOLE = 1e-6
"""How far from a whole number a solver's whole numbers may be."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unions:
    """Bounds on the sums over several groups each."""

    names: tuple[str, ...]
    """Names of the U unions."""
    members: csr_array
    """(U, G) 1 where a union holds a group, else 0."""
    lower: Ints
    """(U,) least number of each union."""
    upper: Ints
    """(U,) largest number of each union."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bounds:
    """What a selection among N examples in G disjoint groups must meet."""

    names: tuple[str, ...]
    """Names of the G groups."""
    groups: Ints
    """(N,) group of each example."""
    lower: Ints
    """(G,) least number of each group."""
    upper: Ints
    """(G,) largest number of each group, at most its size."""
    unions: Unions | None = None
    """Bounds that overlap; None for none."""

    def allow(self, counts: Ints, budget: int) -> bool:
        """Whether some selection of a size holds at least so many of each group.

        Args:
            counts: (G,) how many of each group are chosen already.
            budget: how many are chosen in the end.

        Returns:
            Once False for some counts it is False for all larger ones.
        """
        lower = np.maximum(self.lower, counts)
        if (lower > self.upper).any() or lower.sum() > budget or self.upper.sum() < budget:
            return False
        if self.unions is None:
            return True
        found = milp(
            np.zeros(len(lower)),
            integrality=np.ones(len(lower)),
            bounds=Between(lower, self.upper),
            constraints=[
                LinearConstraint(self.unions.members, self.unions.lower, self.unions.upper),
                LinearConstraint(np.ones((1, len(lower))), budget, budget),
            ],
        )
        if found.status not in (SOLVED, INFEASIBLE):
            raise RuntimeError(f"whether the quotas can be met could not be decided: {found.message}")
        return bool(found.status == SOLVED)


def nearest(bounds: Bounds, unions: Unions, budget: int) -> tuple[Ints, Ints]:
    """Bounds on unions that a selection of a size meets, changed by the least number of examples in all.

    Args:
        bounds: feasible for the budget without the unions.
        unions: bounds that no such selection meets.
        budget: how many are chosen.

    Returns:
        (U,) lower and (U,) upper bounds.
    """
    num_unions, num_groups = unions.members.shape
    rooms = identity(num_unions, format="csr")
    nothing = csr_array((num_unions, num_unions))
    found = milp(
        np.concatenate([np.zeros(num_groups), np.ones(2 * num_unions)]),
        integrality=np.ones(num_groups + 2 * num_unions),
        bounds=Between(
            np.concatenate([bounds.lower, np.zeros(2 * num_unions)]),
            np.concatenate([bounds.upper, np.full(2 * num_unions, np.inf)]),
        ),
        constraints=[
            LinearConstraint(hstack([unions.members, rooms, nothing]), unions.lower, np.inf),
            LinearConstraint(hstack([unions.members, nothing, -rooms]), -np.inf, unions.upper),
            LinearConstraint(np.concatenate([np.ones(num_groups), np.zeros(2 * num_unions)])[None], budget, budget),
        ],
    )
    changes = np.rint(found.x[num_groups:]).astype(np.int64)
    return unions.lower - changes[:num_unions], unions.upper + changes[num_unions:]


def best_within(order: Ints, bounds: Bounds, budget: int, held: Ints | None = None) -> Ints:
    """The first examples of an order that the bounds allow.

    Without unions every group first gets its least number and the rest follows the order, so that no selection has a
    larger sum of worths, whatever worths fall along the order. With unions the places in the order add up to the least
    that the bounds allow; if unions form three or more sets of groups, that may be missed by what whole numbers need.

    Args:
        order: (M,) positions, best first.
        bounds: feasible for the budget and what is held.
        budget: how many are chosen in the end, those held among them.
        held: (G,) how many of each group are chosen already and are not in the order; None for none.

    Returns:
        Positions in that order, as many as the budget lacks.
    """
    held = np.zeros(len(bounds.names), dtype=np.int64) if held is None else held
    missing = budget - int(held.sum())
    groups = bounds.groups[order]
    by_group = np.argsort(groups, kind="stable")
    sorted_groups = groups[by_group]
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_group] = np.arange(len(order)) - np.searchsorted(sorted_groups, sorted_groups)
    if bounds.unions is not None:
        return order[rank < _least_places(by_group, sorted_groups, bounds, bounds.unions, missing, held)[groups]]
    chosen = rank < (bounds.lower - held)[groups]
    allowed = np.flatnonzero(~chosen & (rank < (bounds.upper - held)[groups]))
    chosen[allowed[: missing - int(chosen.sum())]] = True
    return order[chosen]


def _least_places(places: Ints, groups: Ints, bounds: Bounds, unions: Unions, missing: int, held: Ints) -> Ints:
    """(G,) how many of each group to choose, for the least sum of places.

    A linear program over blocks of a group's next places, each at their mean. Blocks that the group's price lies in are
    split, until none is: then it is the program over all places one by one.

    Args:
        places: (M,) places, group by group, in a group the first ones first.
        groups: (M,) group of each.
        bounds: of the groups.
        unions: of the bounds.
        missing: how many to choose.
        held: (G,) how many of each group are chosen already.
    """
    limits = vstack([unions.members, identity(len(held))], format="csr")
    lower = np.maximum(np.concatenate([unions.lower, bounds.lower]) - limits @ held, 0)
    upper = np.concatenate([unions.upper, bounds.upper]) - limits @ held
    sums = np.concatenate([[0], np.cumsum(places)])
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    first = _split(starts, np.append(starts[1:], len(places)), max(1, len(places) // FIRST_BLOCKS))
    while True:
        end = np.append(first[1:], len(places))
        of_group, sizes = groups[first], end - first
        means = (sums[end] - sums[first]) / sizes
        columns = limits[:, of_group]
        found = linprog(
            means,
            A_ub=vstack([columns, -columns]),
            b_ub=np.concatenate([upper, -lower]),
            A_eq=np.ones((1, len(first))),
            b_eq=[missing],
            bounds=np.stack([np.zeros_like(sizes), sizes], axis=1),
        )
        if found.status != SOLVED:
            raise RuntimeError(f"no selection within the quotas could be found: {found.message}")
        above, below = np.split(found.ineqlin.marginals, 2)
        prices = np.round(found.eqlin.marginals[0] + limits.T @ (above - below), 6)[of_group]
        cut = (places[first] < prices) & (prices < places[end - 1])
        if not cut.any():
            break
        inside = _split(first[cut], end[cut], np.maximum(1, -(-sizes[cut] // PARTS)))
        first = np.union1d(first, inside)
    taken = found.x
    if np.abs(taken - np.rint(taken)).max() > WHOLE:
        taken = milp(
            means,
            integrality=np.ones(len(first)),
            bounds=Between(0, sizes),
            constraints=[
                LinearConstraint(columns, lower, upper),
                LinearConstraint(np.ones((1, len(first))), missing, missing),
            ],
        ).x
    return np.bincount(of_group, weights=np.rint(taken), minlength=len(held)).astype(np.int64)


def _split(starts: Ints, ends: Ints, size: int | Ints) -> Ints:
    """Starts of the blocks of a size, or of sizes, that ranges fall into."""
    sizes = np.broadcast_to(size, starts.shape)
    blocks = -(-(ends - starts) // sizes)
    number = np.arange(int(blocks.sum())) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    split: Ints = np.repeat(starts, blocks) + number * np.repeat(sizes, blocks)
    return split
