"""Voting: one subset from several rankings of the same examples.

Every ranking is a voter. Score functions are the standard ones of multiwinner elections, with
quotas as in Boehmer, Celis, Huang, Mehrotra, Vishnoi, "Subset Selection Based On Multiple Rankings in
the Presence of Bias: Effectiveness of Fairness Constraints for Multiwinner Voting Score
Functions", ICML 2023. https://arxiv.org/abs/2306.09835

Inside this module examples stand in the order of their ids, so that the first of two equal
ones is the one with the smaller id.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.bounds import Bounds, best_within
from curation.quotas import Quotas, bounds_for, told
from curation.ranks import budget as whole_budget
from curation.ranks import by_id
from curation.selector import keep_positions, score_named
from storage.values import Scores, Selection, Signals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_ROWS = 2048
"""Examples whose gains the greedy rule renews together."""


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """Which scores vote, and which of their ends they prefer."""

    prefer_high: tuple[str, ...]
    prefer_low: tuple[str, ...]
    weights: tuple[float, ...] | None

    def check(self) -> None:
        """Refuse a ballot without voters, with one twice, or with weights that do not fit.

        Raises:
            ValueError: as said.
        """
        if not self.names:
            raise ValueError("a vote needs at least one score in prefer_high or prefer_low")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"a score can vote once, got {', '.join(self.names)}")
        if self.weights is not None:
            if len(self.weights) != len(self.names):
                raise ValueError(f"weights must be one for each of {', '.join(self.names)}, got {len(self.weights)}")
            if not all(0 <= weight < np.inf for weight in self.weights) or not any(self.weights):
                raise ValueError(f"weights must be finite, at least 0 and not all 0, got {self.weights}")

    @property
    def names(self) -> tuple[str, ...]:
        """All voting scores, in the order of the weights."""
        return self.prefer_high + self.prefer_low

    def oriented(self, scores: Mapping[str, Scores], order: Ints) -> Floats:
        """(V, N) scores turned so that high is preferred, the examples in that order."""
        signs = [1.0] * len(self.prefer_high) + [-1.0] * len(self.prefer_low)
        rows = [sign * score_named(scores, name).values[order] for sign, name in zip(signs, self.names, strict=True)]
        return np.stack(rows)

    def weight_column(self) -> Floats:
        """(V, 1) weights of the voters."""
        return np.array(self.weights or [1.0] * len(self.names), dtype=np.float64)[:, None]


def strict_points(values: Floats) -> NDArray[np.int32]:
    """Points of each example under each voter: N minus its position; equal values follow their order.

    Args:
        values: (V, N) scores, high preferred.

    Returns:
        (V, N) whole numbers, each row a permutation of 0..N-1; N-1 for the most preferred.
    """
    size = values.shape[1]
    points = np.empty(values.shape, dtype=np.int32)
    for voter, row in enumerate(values):
        points[voter, np.argsort(-row, kind="stable")] = np.arange(size - 1, -1, -1, dtype=np.int32)
    return points


def average_points(values: Floats) -> Floats:
    """Points as in `strict_points`, but equal values share the mean of theirs.

    Args:
        values: (V, N) scores, high preferred.

    Returns:
        (V, N) multiples of one half in [0, N - 1].
    """
    return np.stack([pl.Series(row).rank("average").to_numpy() - 1 for row in values])


def best_first(totals: Floats, ties: Floats | None = None) -> Ints:
    """(N,) places from the highest total down; equal ones by `ties`, high first, then in order."""
    keys = (-totals,) if ties is None else (-ties, -totals)
    return np.lexsort(keys).astype(np.int64)


def greedy(points: NDArray[np.int32], weights: Floats, alpha: Floats, bounds: Bounds, budget: int) -> Ints:
    """Places chosen one by one, each with the largest gain in the voters' ordered weighted averages.

    A gain never grows as more is chosen, so a stale one is an upper bound: gains are renewed
    block by block only where such a bound leads (lazy greedy), with the same choice as renewing all.
    Once no gain is left, the rest has the largest Borda totals within the bounds.

    Args:
        points: (V, N) from `strict_points`.
        weights: (V, 1) weights of the voters.
        alpha: (J,) non-increasing weights of a voter's best, second best ... chosen example.
        bounds: feasible for the budget.
        budget: how many to choose.

    Returns:
        (M,) places in the order of choice; equal gains go to the larger Borda total, then the
        smaller id. The value reached is at least 1 - 1/e of the best, with bounds that do not overlap at least 1/2.
    """
    totals = (weights * points).sum(axis=0)
    ranked = best_first(totals)
    in_order = replace(bounds, groups=bounds.groups[ranked])
    race = _Race(points=points[:, ranked], weights=weights, alpha=alpha, bounds=in_order, budget=budget)
    chosen: list[int] = []
    while len(chosen) < budget:
        place = race.leader()
        if place is None:
            break
        race.choose(place)
        chosen.append(place)
    return ranked[race.fill(chosen, totals[ranked])]


class _Race:
    """The state of one greedy choice; examples stand in Borda order."""

    def __init__(
        self, *, points: NDArray[np.int32], weights: Floats, alpha: Floats, bounds: Bounds, budget: int
    ) -> None:
        self.points, self.weights, self.alpha = points, weights, alpha
        self.bounds, self.budget = bounds, budget
        self.best = np.zeros((len(points), len(alpha)))
        self.counts = np.zeros(len(bounds.names), dtype=np.int64)
        self.open = np.ones(points.shape[1], dtype=np.bool_)
        self.closed = np.zeros(len(bounds.names), dtype=np.bool_)
        blocks = -(-points.shape[1] // BLOCK_ROWS)
        self.promises = np.full(blocks, np.inf)
        self.leaders = np.zeros(blocks, dtype=np.int64)
        self.renewed = np.full(blocks, -1)
        self.step = 0

    def leader(self) -> int | None:
        """The place with the largest positive gain that can still be chosen, or None."""
        while True:
            block = int(self.promises.argmax())
            if self.promises[block] <= 0:
                return None
            if self.renewed[block] != self.step:
                self._renew(block)
                continue
            group = self.bounds.groups[self.leaders[block]]
            if self.bounds.allow(self.counts + (np.arange(len(self.counts)) == group), self.budget):
                return int(self.leaders[block])
            # A group that cannot grow now never can: what is chosen only becomes more.
            self.closed[group] = True
            self.renewed[:] = -1

    def choose(self, place: int) -> None:
        """Add an example to what is chosen."""
        self.open[place] = False
        self.counts[self.bounds.groups[place]] += 1
        joined = np.concatenate([self.best, self.points[:, [place]]], axis=1)
        self.best = -np.sort(-joined, axis=1)[:, : len(self.alpha)]
        self.step += 1

    def fill(self, chosen: list[int], totals: Floats) -> Ints:
        """What is chosen, followed by the open places of the largest Borda totals in all that the bounds allow."""
        rest = best_within(np.flatnonzero(self.open), totals, self.bounds, self.budget, self.counts)
        return np.concatenate([np.array(chosen, dtype=np.int64), rest])

    def _renew(self, block: int) -> None:
        rows = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
        gains = self._gains(self.points[:, rows])
        gains[~self.open[rows] | self.closed[self.bounds.groups[rows]]] = -np.inf
        first = int(gains.argmax())
        self.promises[block], self.leaders[block] = gains[first], rows.start + first
        self.renewed[block] = self.step

    def _gains(self, points: NDArray[np.int32]) -> Floats:
        """(B,) what each example would add: it moves those below it one place down the averages."""
        total = np.zeros(points.shape[1])
        shifted = np.append(self.alpha[1:], 0.0)
        for best, own, weight in zip(self.best, points, self.weights[:, 0], strict=True):
            losses = np.append(np.cumsum(((self.alpha - shifted) * best)[::-1])[::-1], 0.0)
            rank = np.searchsorted(-best, -own.astype(np.float64), side="left")
            total += weight * (np.append(self.alpha, 0.0)[rank] * own - losses[rank])
        return total


def elect(
    ballot: Ballot,
    quotas: Quotas | Sequence[Quotas] | None,
    fraction: float,
    signals: Signals,
    scores: Mapping[str, Scores],
    rule: Callable[[Floats, Floats, Bounds, int], Ints],
) -> Selection:
    """A selection of exactly the budget by a rule of choice.

    Args:
        ballot: which scores vote.
        quotas: bounds per group, of one set of groups or several; or None.
        fraction: share of the examples to keep, in (0, 1].
        signals: the index, and what the quotas are over.
        scores: at least those that vote.
        rule: from (V, N) oriented scores, (V, 1) weights, bounds and budget to chosen places,
            all in the order of the ids.

    Returns:
        The selection; reasons tell a vote from a vote within quotas.
    """
    order = by_id(signals.index.ids)
    budget = whole_budget(fraction, len(order))
    found = bounds_for(quotas, signals, budget)
    bounds = replace(found, groups=found.groups[order])
    oriented = ballot.oriented(scores, order)
    kept = order[rule(oriented, ballot.weight_column(), bounds, budget)] if budget else order[:0]
    voters = ", ".join(ballot.names)
    reasons = np.full(len(order), f"not elected by {voters}{told(quotas)}", dtype=object)
    reasons[kept] = f"elected by {voters}{told(quotas)}"
    return keep_positions(signals.index, kept, reasons)
