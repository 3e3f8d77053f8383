"""Bounds on how many of each group a selection holds, and the choice within them.

Groups are disjoint. Bounds on unions of groups overlap, such as those on classes and on languages where the groups are
their crossings; whether a selection meets these, and which is best, is asked of integer and linear programs (HiGHS, by
scipy).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds as Between
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csr_array, hstack, identity, vstack

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]

SOLVED, INFEASIBLE = 0, 2
"""Outcomes of scipy's programs."""
FIRST_BLOCKS = 2048
"""About how many blocks of examples the choice within overlapping bounds begins with."""
PARTS = 4
"""Parts into which a block is split."""
WHOLE = 1e-6
"""How far from a whole number a solver's whole numbers may be."""
SAME = 1e-9
"""Share of the largest worth by which equal worths may differ from rounding."""
STEP = 0.25
"""How near a group's price a cost is taken to be the same, where costs that differ are at least 1 apart."""
SECONDS = 60.0
"""How long an integer program may take."""


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
    """Bounds that overlap, beside which groups are bound by their sizes alone; None for none."""

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
        if self.unions is None or not len(lower):
            return True
        found = milp(
            np.zeros(len(lower)),
            integrality=np.ones(len(lower)),
            bounds=Between(lower, self.upper),
            constraints=[
                LinearConstraint(self.unions.members, self.unions.lower, self.unions.upper),
                LinearConstraint(np.ones((1, len(lower))), budget, budget),
            ],
            options={"time_limit": SECONDS},
        )
        if found.status not in (SOLVED, INFEASIBLE):
            raise ValueError(f"whether the quotas can be met could not be decided: {found.message}")
        return bool(found.status == SOLVED)


def nearest(bounds: Bounds, unions: Unions, budget: int) -> tuple[Ints, Ints] | None:
    """Bounds on unions that a selection of a size meets, changed by the least number of examples in all.

    Args:
        bounds: feasible for the budget without the unions.
        unions: bounds that no such selection meets.
        budget: how many are chosen.

    Returns:
        (U,) lower and (U,) upper bounds; None where the search takes too long.
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
        options={"time_limit": SECONDS, "mip_rel_gap": 0},
    )
    if found.status != SOLVED:
        return None
    changes = np.rint(found.x[num_groups:]).astype(np.int64)
    return unions.lower - changes[:num_unions], unions.upper + changes[num_unions:]


def best_within(order: Ints, worth: Reals, bounds: Bounds, budget: int, held: Ints | None = None) -> Ints:
    """The examples of the largest worth in all that the bounds allow.

    Of selections of equal worth it is the one whose places in the order add up to the least; without unions, and
    within a group, that is the order itself. Where unions form three or more sets of groups, the worth may be missed by
    what whole numbers need, and ties are the solver's.

    Args:
        order: (M,) positions, best first.
        worth: (N,) worth of each position, which does not rise along the order.
        bounds: feasible for the budget and what is held.
        budget: how many are chosen in the end, those held among them.
        held: (G,) how many of each group are chosen already and are not in the order; None for none.

    Returns:
        Positions in that order, as many as the budget lacks.
    """
    held = np.zeros(len(bounds.names), dtype=np.int64) if held is None else held
    missing = budget - int(held.sum())
    if not missing:
        return order[:0]
    groups = bounds.groups[order]
    by_group = np.argsort(groups, kind="stable")
    sorted_groups = groups[by_group]
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_group] = np.arange(len(order)) - np.searchsorted(sorted_groups, sorted_groups)
    if bounds.unions is not None:
        queue = _Queue(sorted_groups, -worth[order][by_group], by_group, len(held))
        return order[rank < _most_worth(queue, bounds.unions, missing, held)[groups]]
    chosen = rank < (bounds.lower - held)[groups]
    allowed = np.flatnonzero(~chosen & (rank < (bounds.upper - held)[groups]))
    chosen[allowed[: missing - int(chosen.sum())]] = True
    return order[chosen]


class _Queue(NamedTuple):
    """Examples group by group, in a group in the order in which they are taken."""

    groups: Ints
    """(M,) group of each."""
    costs: Reals
    """(M,) which do not fall within a group."""
    places: Ints
    """(M,) in the order, which break ties."""
    num_groups: int

    def where(self, chosen: NDArray[np.bool_]) -> "_Queue":
        """Some of the examples."""
        return _Queue(self.groups[chosen], self.costs[chosen], self.places[chosen], self.num_groups)


class _Taken(NamedTuple):
    """The solution of a linear program."""

    counts: Ints
    """(G,) how many of each group are taken."""
    prices: Reals
    """(G,) cost up to which examples of a group are taken, all of them below it and none above."""
    tight_below: NDArray[np.bool_]
    """(U,) unions whose lower bounds every cheapest solution meets exactly."""
    tight_above: NDArray[np.bool_]
    """(U,) the same of upper bounds."""
    is_whole: bool
    """Whether the linear program had a solution in whole numbers; else an integer program was asked."""


def _most_worth(queue: _Queue, unions: Unions, missing: int, held: Ints) -> Ints:
    """(G,) how many of each group to choose: the cheapest, and of equally cheap ones those of the first places."""
    costs = _in_steps(queue.costs)
    found = _cheapest(queue._replace(costs=costs), unions, missing, held)
    if not found.is_whole:
        return found.counts
    prices = found.prices[queue.groups]
    fixed, free = costs < prices - STEP, np.abs(costs - prices) <= STEP
    counts = np.bincount(queue.groups[fixed], minlength=queue.num_groups)
    open_still = missing - int(counts.sum())
    if open_still <= 0 or open_still == int(free.sum()):
        return found.counts
    ties = queue.where(free)
    sums = unions.members @ (held + found.counts)
    tight = Unions(
        names=unions.names,
        members=unions.members,
        lower=np.where(found.tight_above, sums, unions.lower).astype(np.int64),
        upper=np.where(found.tight_below, sums, unions.upper).astype(np.int64),
    )
    first = _cheapest(ties._replace(costs=ties.places.astype(np.float64)), tight, open_still, held + counts)
    return counts + first.counts


def _in_steps(costs: Reals) -> Reals:
    """The costs from 0 on, those that differ being at least 1 apart."""
    rounded = np.round(costs / (SAME * max(1e-300, float(np.abs(costs).max()))))
    known = np.unique(rounded)
    steps: Reals = (rounded - known[0]) / (np.diff(known).min() if len(known) > 1 else 1.0)
    return steps


def _cheapest(queue: _Queue, unions: Unions, missing: int, held: Ints) -> _Taken:
    """The cheapest choice within bounds on unions.

    A linear program over blocks of a group's next examples, each at their mean cost. Blocks that the group's price lies
    in are split, until none is: then it is the program over all examples one by one.
    """
    groups, costs, size = queue.groups, queue.costs, len(queue.costs)
    sums = np.concatenate([[0.0], np.cumsum(costs)])
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    first = _split(starts, np.append(starts[1:], size), max(1, size // FIRST_BLOCKS))
    lower, upper = (bound - unions.members @ held for bound in (unions.lower, unions.upper))
    while True:
        end = np.append(first[1:], size)
        sizes, columns = end - first, unions.members[:, groups[first]]
        means = (sums[end] - sums[first]) / sizes
        found = linprog(
            means,
            A_ub=vstack([columns, -columns]),
            b_ub=np.concatenate([upper, -lower]),
            A_eq=np.ones((1, len(first))),
            b_eq=[missing],
            bounds=np.stack([np.zeros_like(sizes), sizes], axis=1),
        )
        if found.status != SOLVED:
            raise ValueError(f"no selection within the quotas could be found: {found.message}")
        above, below = np.split(found.ineqlin.marginals, 2)
        prices = found.eqlin.marginals[0] + unions.members.T @ (above - below)
        price = prices[groups[first]]
        cut = (costs[first] < price - WHOLE) & (price + WHOLE < costs[end - 1])
        if not cut.any():
            break
        first = np.union1d(first, _split(first[cut], end[cut], np.maximum(1, -(-sizes[cut] // PARTS))))
    taken = found.x
    is_whole = bool(np.abs(taken - np.rint(taken)).max() <= WHOLE)
    if not is_whole:
        taken = _in_whole_numbers(means, sizes, LinearConstraint(columns, lower, upper), missing)
    counts = np.bincount(groups[first], weights=np.rint(taken), minlength=queue.num_groups).astype(np.int64)
    return _Taken(counts, prices, below < -WHOLE, above < -WHOLE, is_whole)


def _in_whole_numbers(means: Reals, sizes: Ints, within: LinearConstraint, missing: int) -> Reals:
    """(B,) how many of each block to take, by an integer program."""
    found = milp(
        means,
        integrality=np.ones(len(means)),
        bounds=Between(0, sizes),
        constraints=[within, LinearConstraint(np.ones((1, len(means))), missing, missing)],
        options={"time_limit": SECONDS, "mip_rel_gap": 0},
    )
    if found.x is None:
        raise ValueError(f"no selection within the quotas was found in {SECONDS:.0f} seconds: {found.message}")
    taken: Reals = found.x
    return taken


def _split(starts: Ints, ends: Ints, size: int | Ints) -> Ints:
    """Starts of the blocks of a size, or of sizes, that ranges fall into."""
    sizes = np.broadcast_to(size, starts.shape)
    blocks = -(-(ends - starts) // sizes)
    number = np.arange(int(blocks.sum())) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    split: Ints = np.repeat(starts, blocks) + number * np.repeat(sizes, blocks)
    return split
