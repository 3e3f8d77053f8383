from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.bounds import Bounds, best_within
from curation.quotas import Quotas, bounds_for, conflicts
from storage.index import ExampleIndex
from storage.values import Signals


def signals_of(**arrays: list[int]) -> Signals:
    size = len(next(iter(arrays.values())))
    index = ExampleIndex(f"world:{number:03}" for number in range(size))
    return Signals(index=index, arrays={name: np.array(array) for name, array in arrays.items()})


def bounds_of(groups: list[int], lower: list[int], upper: list[int]) -> Bounds:
    names = tuple(map(str, range(len(lower))))
    return Bounds(names=names, groups=np.array(groups), lower=np.array(lower), upper=np.array(upper))


def test_shares_become_whole_numbers_by_hand():
    # Budget 10 of 20 examples, 12 and 8: proportional parts 6 and 4. Floor 0.8: 4.8 -> 4 and 3.2 -> 3;
    # ceiling 1.2: 7.2 -> 8 and 4.8 -> 5.
    found = bounds_for(Quotas(over=("label",), floor=0.8, ceiling=1.2), signals_of(label=[0] * 12 + [1] * 8), budget=10)
    assert found.names == ("0", "1")
    assert found.lower.tolist() == [4, 3]
    assert found.upper.tolist() == [8, 5]


def test_a_share_that_is_whole_is_not_lost_to_rounding():
    # 0.7 * 10 * 10 / 10 is 7, which floating point makes 6.999...
    found = bounds_for(Quotas(over=("label",), floor=0.7), signals_of(label=[3] * 10), budget=10)
    assert found.lower.tolist() == [7]


def test_crossings_are_groups_and_single_ones_can_be_named():
    signals = signals_of(label=[0, 0, 1, 1, 1, 5], group=[0, 1, 1, 0, 1, 0])
    quotas = Quotas(over=("label", "group"), floors={"1,1": 2}, ceilings={"5,0": 0})
    found = bounds_for(quotas, signals, budget=3)
    assert found.names == ("0,0", "0,1", "1,0", "1,1", "5,0")
    assert found.groups.tolist() == [0, 1, 3, 2, 3, 4]
    assert found.lower.tolist() == [0, 0, 0, 2, 0]
    assert found.upper.tolist() == [1, 1, 1, 2, 0]


@pytest.mark.parametrize(
    ("quotas", "budget", "message"),
    [
        (
            {"floors": {"1": 5}},
            5,
            r"group 1 has 4 examples, its floor is 5 \(nearest feasible: 4\)",
        ),
        (
            {"floors": {"0": 3}, "ceilings": {"0": 2}},
            5,
            r"group 0 has the floor 3 above its ceiling 2 \(nearest feasible floor: 2\)",
        ),
        (
            {"floors": {"0": 4, "1": 3}},
            5,
            r"the floors add up to 7, the budget is 5 \(lower the floors by 2 in all, or raise the budget to 7\)",
        ),
        (
            {"ceilings": {"0": 1, "1": 1}},
            5,
            r"leave room for 2, the budget is 5 \(raise the ceilings by 3 in all, or lower the budget to 2\)",
        ),
    ],
)
def test_infeasible_quotas_are_explained_with_the_nearest_feasible(quotas, budget, message):
    signals = signals_of(label=[0] * 6 + [1] * 4)
    with pytest.raises(ValueError, match=f"quotas over label cannot be met: .*{message}"):
        bounds_for(Quotas(over=("label",), **quotas), signals, budget)


def test_a_floor_above_the_size_of_a_group_without_a_ceiling_is_said_once():
    with pytest.raises(ValueError, match=r"group 1 has 4 examples, its floor is 5 \(nearest feasible: 4\)$"):
        bounds_for(Quotas(over=("label",), floors={"1": 5}), signals_of(label=[0] * 6 + [1] * 4), budget=5)


def test_every_conflict_is_listed():
    found = conflicts(["a", "b"], np.array([2, 3]), np.array([4, 2]), np.array([4, 1]), 5)
    assert len(found) == 4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=3),
    st.integers(0, 8),
)
def test_conflicts_are_found_exactly_where_no_selection_exists(groups, budget):
    sizes, lower, upper = (np.array(column) for column in zip(*groups, strict=True))
    reachable = {0}
    for size, low, high in groups:
        reachable = {total + own for total in reachable for own in range(low, min(high, size) + 1)}
    names = [str(number) for number in range(len(groups))]
    assert bool(conflicts(names, sizes, lower, upper, budget)) == (budget not in reachable)


def test_floors_come_first_then_the_order_up_to_the_ceilings_by_hand():
    # Order 0..5, groups a a a b b b, two at least of b, two at most of a, four in all.
    bounds = bounds_of([0, 0, 0, 1, 1, 1], [0, 2], [2, 3])
    assert best_within(np.arange(6), -np.arange(6.0), bounds, 4).tolist() == [0, 1, 3, 4]
    assert best_within(np.arange(6)[::-1], np.arange(6.0), bounds, 4).tolist() == [5, 4, 3, 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_choice_within_bounds_is_the_best_of_all_subsets(seed):
    rng = np.random.default_rng(seed)
    groups, worth = rng.integers(3, size=9), rng.permutation(9)
    sizes = np.bincount(groups, minlength=3)
    lower = rng.integers(0, np.minimum(sizes, 2) + 1)
    upper = np.maximum(lower, rng.integers(0, sizes + 1))
    budget = int(rng.integers(lower.sum(), upper.sum() + 1))
    found = best_within(np.argsort(-worth), worth, bounds_of(groups.tolist(), lower.tolist(), upper.tolist()), budget)

    def allowed(rows: tuple[int, ...]) -> bool:
        counts = np.bincount(groups[list(rows)], minlength=3)
        return bool((counts >= lower).all() and (counts <= upper).all())

    feasible = [rows for rows in combinations(range(9), budget) if allowed(rows)]
    assert allowed(tuple(found))
    assert worth[found].sum() == max(worth[list(rows)].sum() for rows in feasible)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"over": ()}, "at least one signal in 'over'"),
        ({"over": ("label",)}, "quotas without a floor or a ceiling have no effect"),
        ({"over": ("label",), "floor": -0.1}, "floor must be at least 0, got -0.1"),
        ({"over": ("label",), "ceiling": 0.5}, "ceiling must be at least 1, got 0.5"),
        ({"over": ("label",), "floors": {"2": -1}}, "floors.2 must be at least 0, got -1"),
    ],
)
def test_settings_outside_their_range_are_refused(given_settings, message):
    with pytest.raises(ValueError, match=message):
        Quotas(**given_settings)


def named_world(**categories: tuple[str, ...]) -> Signals:
    plain = signals_of(label=[0, 0, 1, 1, 1, 2], group=[0, 1, 1, 0, 1, 0])
    return Signals(index=plain.index, arrays=plain.arrays, categories=categories)


def test_groups_are_named_by_classes_and_values_without_a_name_by_their_number():
    signals = named_world(label=("cat", "dog"))
    quotas = Quotas(over=("label", "group"), floors={"dog,1": 2}, ceilings={"2,0": 0})
    found = bounds_for(quotas, signals, budget=3)
    assert found.names == ("cat,0", "cat,1", "dog,0", "dog,1", "2,0")
    assert found.lower.tolist() == [0, 0, 0, 2, 0]
    assert found.upper.tolist() == [1, 1, 1, 2, 0]


def test_a_group_may_be_given_by_its_numbers_unless_a_class_has_that_name():
    by_number = bounds_for(Quotas(over=("label",), floors={"1": 3}), named_world(label=("cat", "dog", "eel")), 4)
    assert by_number.lower.tolist() == [0, 3, 0]
    by_name = bounds_for(Quotas(over=("label",), floors={"1": 2}), named_world(label=("1", "0", "2")), 4)
    assert by_name.lower.tolist() == [2, 0, 0]


def test_infeasible_quotas_name_the_class():
    quotas = Quotas(over=("label",), floors={"cat": 3})
    with pytest.raises(ValueError, match=r"group cat has 2 examples, its floor is 3 \(nearest feasible: 2\)"):
        bounds_for(quotas, named_world(label=("cat", "dog", "eel")), 4)


def test_a_name_that_two_crossings_share_is_refused():
    signals = named_world(label=("a", "a,b", "c"), group=("b,c", "c"))
    with pytest.raises(ValueError, match="floors: 'a,b,c' names several groups"):
        bounds_for(Quotas(over=("label", "group"), floors={"a,b,c": 1}), signals, 3)


def test_unknown_groups_and_signals_that_are_no_groups_are_named():
    signals = signals_of(label=[0, 1])
    with pytest.raises(ValueError, match="floors: '7' is no group of label; groups are 0, 1"):
        bounds_for(Quotas(over=("label",), floors={"7": 1}), signals, 1)
    with pytest.raises(ValueError, match="signal 'group' was not recorded"):
        bounds_for(Quotas(over=("group",), floor=0.5), signals, 1)
    broken = Signals(index=signals.index, arrays={"label": np.array([0.5, 1.0])})
    with pytest.raises(TypeError, match="quotas need whole numbers, one an example; signal 'label' is float64"):
        bounds_for(Quotas(over=("label",), floor=0.5), broken, 1)
