"""Bounds on groups that overlap, beside every selection written out."""

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import bounds as module
from curation.bounds import Bounds, best_within, nearest
from curation.quotas import Quotas, bounds_for
from storage.index import ExampleIndex
from storage.values import Signals

SETS = (("label",), ("group",), ("label", "group"))
"""What the quotas of the worlds here are over; the third are the crossings of the first two."""


def world(seed: int, size: int = 9) -> Signals:
    rng = np.random.default_rng(seed)
    index = ExampleIndex(f"world:{number:04}" for number in range(size))
    return Signals(index=index, arrays={"label": rng.integers(3, size=size), "group": rng.integers(2, size=size)})


def drawn_quotas(signals: Signals, seed: int, num_sets: int) -> list[Quotas]:
    """Floors and ceilings drawn at random, which often cannot be met together."""
    rng = np.random.default_rng([1, seed])
    drawn = []
    for over in SETS[:num_sets]:
        names = sorted({",".join(str(signals[name][row]) for name in over) for row in range(len(signals))})
        floors = {name: int(rng.integers(0, 3)) for name in names}
        ceilings = {name: floors[name] + int(rng.integers(0, 4)) for name in names}
        drawn.append(Quotas(over=over, floors=floors, ceilings=ceilings))
    return drawn


def met_quotas(signals: Signals, seed: int, num_sets: int, budget: int) -> list[Quotas]:
    """Floors and ceilings that one selection drawn at random meets, some of them tight."""
    rng = np.random.default_rng([3, seed])
    rows = rng.permutation(len(signals))[:budget]
    drawn = []
    for over in SETS[:num_sets]:
        groups = [",".join(str(signals[name][row]) for name in over) for row in range(len(signals))]
        counts = {name: sum(groups[row] == name for row in rows) for name in sorted(set(groups))}
        floors = {name: max(0, count - int(rng.integers(0, 2))) for name, count in counts.items()}
        ceilings = {name: count + int(rng.integers(0, 3)) for name, count in counts.items()}
        drawn.append(Quotas(over=over, floors=floors, ceilings=ceilings))
    return drawn


def meets(rows: tuple[int, ...], quotas: list[Quotas], signals: Signals) -> bool:
    """The definition, example by example."""
    for one in quotas:
        groups = [",".join(str(signals[name][row]) for name in one.over) for row in rows]
        if any(groups.count(name) < least for name, least in one.floors.items()):
            return False
        if any(groups.count(name) > most for name, most in one.ceilings.items()):
            return False
    return True


def every(size: int, budget: int, allowed: Callable[[tuple[int, ...]], bool]) -> Iterator[tuple[int, ...]]:
    return (rows for rows in combinations(range(size), budget) if allowed(rows))


def test_overlapping_quotas_by_hand():
    # Labels a a a b b b, groups x y y x x y, order 0..5. Three in all, two of b and two of y: 5 alone is both, without
    # it no three do; with it one of 3, 4 (b, x) and one of 1, 2 (a, y).
    index = ExampleIndex(f"world:{number}" for number in range(6))
    arrays = {"label": np.array([0, 0, 0, 1, 1, 1]), "group": np.array([0, 1, 1, 0, 0, 1])}
    signals = Signals(index=index, arrays=arrays, categories={"label": ("a", "b"), "group": ("x", "y")})
    quotas = [Quotas(over=("label",), floors={"b": 2}), Quotas(over=("group",), floors={"y": 2})]
    found = bounds_for(quotas, signals, budget=3)
    assert found.names == (
        "a (label) and x (group)",
        "a (label) and y (group)",
        "b (label) and x (group)",
        "b (label) and y (group)",
    )
    assert best_within(np.arange(6), -np.arange(6.0), found, 3).tolist() == [1, 3, 5]
    assert best_within(np.arange(6)[::-1], np.arange(6.0), found, 3).tolist() == [5, 4, 2]


def test_worth_comes_before_places_by_hand():
    # Labels a a b b, groups x y x y, one of each: 0 and 3 or 1 and 2. The first has all the worth.
    index = ExampleIndex(f"world:{number}" for number in range(4))
    signals = Signals(index=index, arrays={"label": np.array([0, 0, 1, 1]), "group": np.array([0, 1, 0, 1])})
    found = bounds_for([Quotas(over=(name,), floors={"0": 1, "1": 1}) for name in ("label", "group")], signals, 2)
    assert best_within(np.arange(4), np.array([1.0, 0, 0, 0]), found, 2).tolist() == [0, 3]
    assert best_within(np.array([1, 2, 0, 3]), np.zeros(4), found, 2).tolist() == [1, 2]
    assert best_within(np.array([0, 3, 1, 2]), np.zeros(4), found, 2).tolist() == [0, 3]


def test_where_everything_is_held_nothing_is_added():
    index = ExampleIndex(["world:0", "world:1"])
    signals = Signals(index=index, arrays={"label": np.array([0, 1]), "group": np.array([0, 1])})
    found = bounds_for([Quotas(over=("label",), floor=0.5), Quotas(over=("group",), floor=0.5)], signals, 2)
    assert best_within(np.arange(0), np.zeros(2), found, 2, np.array([1, 1])).tolist() == []


def test_what_cannot_be_met_together_names_the_nearest_that_can():
    # Each alone is feasible: 4 of label 0, and 4 of group 1; but no example is in both and 6 are to be chosen.
    arrays = {"label": np.array([0] * 5 + [1] * 5), "group": np.array([0] * 5 + [1] * 5)}
    signals = Signals(index=ExampleIndex(f"world:{number}" for number in range(10)), arrays=arrays)
    quotas = [Quotas(over=("label",), floors={"0": 4}), Quotas(over=("group",), floors={"1": 4})]
    message = (
        r"quotas over label, and over group cannot be met together by 6 examples: the floor of \S+ \(\w+\) is 4 "
        r"\(nearest feasible: [23]\)"
    )
    with pytest.raises(ValueError, match=message):
        bounds_for(quotas, signals, budget=6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 9))
def test_what_is_chosen_is_the_best_of_all_selections(seed, num_sets, budget):
    signals = world(seed)
    quotas = drawn_quotas(signals, seed, num_sets)
    order = np.random.default_rng([2, seed]).permutation(9)
    place = np.argsort(order)
    feasible = list(every(9, budget, lambda rows: meets(rows, quotas, signals)))
    if not feasible:
        with pytest.raises(ValueError, match="cannot be met"):
            bounds_for(quotas, signals, budget)
        return
    # A few worths only, so that many are equal.
    worth = np.zeros(9)
    worth[order] = -np.sort(np.random.default_rng([4, seed]).integers(0, 4, size=9)) / 10
    found = best_within(order, worth, bounds_for(quotas, signals, budget), budget)
    assert meets(tuple(found), quotas, signals)
    assert len(set(found.tolist())) == budget
    assert (np.diff(place[found]) > 0).all()
    best = min((round(-10 * worth[list(rows)].sum()), place[list(rows)].sum()) for rows in feasible)
    assert (round(-10 * worth[found].sum()), place[found].sum()) == best


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 8), st.data())
def test_what_is_held_can_be_completed_exactly_where_some_selection_holds_it(seed, num_sets, budget, data):
    signals = world(seed)
    quotas = met_quotas(signals, seed, num_sets, budget)
    feasible = list(every(9, budget, lambda rows: meets(rows, quotas, signals)))
    bounds = bounds_for(quotas, signals, budget)
    held = np.array([data.draw(st.integers(0, 2)) for _ in bounds.names])
    counts = [np.bincount(bounds.groups[list(rows)], minlength=len(held)) for rows in feasible]
    assert bounds.allow(held, budget) == any((one >= held).all() for one in counts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_what_is_held_is_completed_by_the_best_of_the_rest(seed, budget):
    signals = world(seed)
    quotas = met_quotas(signals, seed, 2, budget)
    feasible = list(every(9, budget, lambda rows: meets(rows, quotas, signals)))
    bounds = bounds_for(quotas, signals, budget)
    begun = feasible[-1][: budget // 2]
    held = np.bincount(bounds.groups[list(begun)], minlength=len(bounds.names)).astype(np.int64)
    rest = np.array([row for row in range(9) if row not in begun])
    added = best_within(rest, -np.arange(9.0), bounds, budget, held)
    with_begun = [rows for rows in feasible if set(begun) <= set(rows)]
    assert tuple(sorted([*begun, *added])) in with_begun
    assert added.sum() == min(sum(set(rows) - set(begun)) for rows in with_begun)


@pytest.mark.parametrize("num_sets", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("coarse", [1, 7, 600])
def test_blocks_change_nothing(num_sets, seed, coarse, monkeypatch):
    rng = np.random.default_rng(seed)
    index = ExampleIndex(f"world:{number:04}" for number in range(600))
    arrays = {"label": rng.integers(4, size=600), "group": rng.integers(3, size=600)}
    signals = Signals(index=index, arrays=arrays)
    given_quotas = [
        Quotas(over=("label",), floor=0.9, ceiling=1.1),
        Quotas(over=("group",), floors={"0": 90}, ceilings={"1": 40}),
        Quotas(over=("label", "group"), floor=0.3),
    ]
    bounds = bounds_for(given_quotas[:num_sets], signals, 200)
    order = np.argsort(rng.normal(size=600) + 0.5 * arrays["label"] - arrays["group"])
    place = np.argsort(order)
    worth = -(place // coarse).astype(np.float64)
    one_by_one = best_within(order, worth, bounds, 200)
    monkeypatch.setattr(module, "FIRST_BLOCKS", 5)
    in_blocks = best_within(order, worth, bounds, 200)
    assert worth[in_blocks].sum() == worth[one_by_one].sum()
    assert place[in_blocks].sum() == place[one_by_one].sum()
    for one in given_quotas[:num_sets]:
        chosen = bounds_for(one, signals, 200)
        counts = np.bincount(chosen.groups[in_blocks], minlength=len(chosen.names))
        assert (counts >= chosen.lower).all()
        assert (counts <= chosen.upper).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_the_nearest_bounds_can_be_met_and_no_nearer_ones_can(seed, budget):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(2, size=9), rng.integers(2, size=9)
    signals = Signals(
        index=ExampleIndex(f"world:{number}" for number in range(9)), arrays={"label": labels, "group": groups}
    )
    loose = bounds_for([Quotas(over=("label",), floor=1e-9), Quotas(over=("group",), floor=1e-9)], signals, budget)
    assert loose.unions is not None
    number = len(loose.unions.names)
    lower = rng.integers(0, 5, size=number)
    upper = lower + rng.integers(0, 5, size=number)
    unions = module.Unions(names=loose.unions.names, members=loose.unions.members, lower=lower, upper=upper)
    free = Bounds(names=loose.names, groups=loose.groups, lower=loose.lower, upper=loose.upper)
    low, high = nearest(free, unions, budget)
    least = min(
        np.maximum(lower - sums, 0).sum() + np.maximum(sums - upper, 0).sum()
        for rows in combinations(range(9), budget)
        for sums in [loose.unions.members @ np.bincount(loose.groups[list(rows)], minlength=len(loose.names))]
    )
    assert (lower - low).sum() + (high - upper).sum() == least
    again = module.Unions(names=unions.names, members=unions.members, lower=low, upper=high)
    met = Bounds(names=free.names, groups=free.groups, lower=free.lower, upper=free.upper, unions=again)
    assert met.allow(np.zeros(len(free.names), dtype=np.int64), budget)


def test_quotas_over_the_same_signals_are_refused():
    quotas = (Quotas(over=("label", "group"), floor=0.5), Quotas(over=("group", "label"), ceiling=2))
    with pytest.raises(ValueError, match="quotas over group and label are given twice; give their bounds in one place"):
        bounds_for(quotas, world(0), 3)


@pytest.mark.parametrize(
    ("quotas", "error", "message"),
    [
        ((), ValueError, "an empty list of quotas has no effect; leave it out"),
        (({"over": ["label"]},), TypeError, "quotas must be Quotas, or several of them"),
    ],
)
def test_what_are_no_quotas_is_refused(quotas, error, message):
    with pytest.raises(error, match=message):
        bounds_for(quotas, world(0), 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_three_sets_of_groups_are_met_by_the_largest_worth(seed, budget):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.integers(2, size=9) for name in ("label", "group", "place")}
    signals = Signals(index=ExampleIndex(f"world:{number}" for number in range(9)), arrays=arrays)
    drawn = rng.permutation(9)[:budget]
    quotas = [
        Quotas(over=(name,), floors={str(one): int((column[drawn] == one).sum()) for one in set(column.tolist())})
        for name, column in arrays.items()
    ]
    worth = np.sort(rng.integers(0, 50, size=9))[::-1].astype(np.float64)
    found = best_within(np.arange(9), worth, bounds_for(quotas, signals, budget), budget)
    feasible = every(9, budget, lambda rows: meets(rows, quotas, signals))
    assert meets(tuple(found), quotas, signals)
    assert worth[found].sum() == max(worth[list(rows)].sum() for rows in feasible)
