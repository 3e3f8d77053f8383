from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import voting
from curation.bounds import Bounds
from curation.quotas import Quotas, bounds_for, without_quotas
from curation.selectors.bloc import Bloc, approvals
from curation.selectors.borda import Borda, borda_totals
from curation.selectors.chamberlin_courant import ChamberlinCourant
from curation.selectors.owa import OWA
from curation.selectors.sntv import SNTV, first_places
from curation.voting import average_points, greedy, strict_points
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals

RULES = (Borda, Bloc, SNTV, ChamberlinCourant, OWA)
ACBD, BACD, DCBA = [3.0, 1.0, 2.0, 0.0], [2.0, 3.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]
PROFILE = np.array([ACBD] * 2 + [BACD] * 3 + [DCBA] * 3)
"""Two voters A > C > B > D, three B > A > C > D, three D > C > B > A: points of A, B, C, D."""


def vote(
    rule: type, values: np.ndarray, budget: int, ids: list[str] | None = None, **settings_given: object
) -> Selection:
    size = values.shape[1]
    index = ExampleIndex(ids or [f"world:{number:03}" for number in range(size)])
    scores = {f"s{v}": Scores(index=index, values=row, high_means="hard") for v, row in enumerate(values)}
    arrays = {"label": np.arange(size) % 3, "group": np.arange(size) // 2 % 2}
    selector = rule(prefer_high=tuple(scores), fraction=budget / size, **settings_given)
    return selector(Signals(index=index, arrays=arrays), scores, np.random.default_rng(0))


def elected(rule: type, values: np.ndarray, budget: int, **settings_given: object) -> set[int]:
    return set(np.flatnonzero(vote(rule, values, budget, **settings_given).kept).tolist())


def worth(points: np.ndarray, chosen: tuple[int, ...], alpha: list[float], weights: np.ndarray | None = None) -> float:
    """Sum over voters of their chosen points, best first, times alpha: written out."""
    total = 0.0
    for voter, row in enumerate(points):
        own = sorted((float(row[place]) for place in chosen), reverse=True)
        value = sum(factor * point for factor, point in zip(alpha, own, strict=False))
        total += value * (1.0 if weights is None else float(weights[voter, 0]))
    return total


def slow_greedy(points: np.ndarray, weights: np.ndarray, alpha: list[float], bounds: Bounds, budget: int) -> list[int]:
    """Renews every gain at every step and tries whether the rest can still meet the bounds."""
    borda = (weights * points).sum(axis=0)
    chosen: list[int] = []
    while len(chosen) < budget:
        before = worth(points, tuple(chosen), alpha, weights)
        ranked = []
        for place in set(range(points.shape[1])) - set(chosen):
            counts = np.bincount(bounds.groups[[*chosen, place]], minlength=len(bounds.lower))
            missing = np.maximum(bounds.lower - counts, 0).sum()
            if (counts <= bounds.upper).all() and missing <= budget - len(chosen) - 1:
                gain = worth(points, (*chosen, place), alpha, weights) - before
                ranked.append((-gain, -borda[place], place))
        chosen.append(min(ranked)[2])
    return chosen


def test_one_profile_has_four_different_winners():
    rules = {
        "first places": lambda chosen: sum(row[place] == 3 for row in PROFILE for place in chosen),
        "approvals": lambda chosen: sum(row[place] >= 2 for row in PROFILE for place in chosen),
        "points": lambda chosen: worth(PROFILE, chosen, [1.0, 1.0]),
        "best points": lambda chosen: worth(PROFILE, chosen, [1.0]),
    }
    pairs = list(combinations(range(4), 2))
    best = {name: max(pairs, key=rule) for name, rule in rules.items()}
    assert best == {"first places": (1, 3), "approvals": (0, 2), "points": (1, 2), "best points": (0, 3)}
    assert {name: rules[name](pair) for name, pair in best.items()} == {
        "first places": 6,
        "approvals": 10,
        "points": 27,
        "best points": 21,
    }
    assert elected(SNTV, PROFILE, 2) == {1, 3}
    assert elected(Bloc, PROFILE, 2) == {0, 2}
    assert elected(Borda, PROFILE, 2) == {1, 2}


def test_greedy_chamberlin_courant_reaches_20_of_21_by_hand():
    # Alone A 12, B 14, C 13, D 9: B first. Then D adds 3 * (3 - 1) = 6, A adds 2 * (3 - 1) = 4, C 2 + 3 = 5.
    chosen = elected(ChamberlinCourant, PROFILE, 2)
    assert chosen == {1, 3}
    assert worth(PROFILE, tuple(chosen), [1.0]) == 20


def test_greedy_with_one_of_each_group_reaches_19_of_21_by_hand():
    # One of {B, D} and one of {A, C}: B first, then C adds 5 and A 4; the best pair {A, D} has 21.
    bounds = Bounds(names=("BD", "AC"), groups=np.array([1, 0, 1, 0]), lower=np.ones(2, int), upper=np.ones(2, int))
    chosen = greedy(PROFILE.astype(np.int32), np.ones((8, 1)), np.ones(1), bounds, 2)
    assert chosen.tolist() == [1, 2]
    assert worth(PROFILE, (1, 2), [1.0]) == 19


def test_borda_against_the_majority_by_hand():
    # Three voters A > B > C, two B > C > A: A 6, B 7, C 2.
    values = np.array([[2.0, 1.0, 0.0]] * 3 + [[0.0, 2.0, 1.0]] * 2)
    assert borda_totals(values, np.ones((5, 1))).tolist() == [6, 7, 2]
    assert elected(Borda, values, 1) == {1}


def test_points_and_approvals_of_ties_by_hand():
    values = np.array([[5.0, 7.0, 5.0, 1.0]])
    assert strict_points(values).tolist() == [[2, 3, 1, 0]]
    assert average_points(values).tolist() == [[1.5, 3.0, 1.5, 0.0]]
    points = strict_points(values)
    assert approvals(points, np.ones((1, 1)), 2).tolist() == [1, 1, 0, 0]
    assert first_places(points, np.full((1, 1), 0.5)).tolist() == [0, 0.5, 0, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10), st.sampled_from([[1.0], [1.0, 0.5], [1.0, 1.0, 0.25, 0.0]]))
def test_lazy_greedy_in_blocks_chooses_as_renewing_every_gain_does(seed, budget, alpha):
    rng = np.random.default_rng(seed)
    points = strict_points(rng.integers(8, size=(3, 14)).astype(float))
    weights = np.array([[1.0], [2.0], [0.5]])
    groups = rng.integers(3, size=14)
    # Bounds that one subset drawn at random meets, some of them tight.
    counts = np.bincount(rng.permutation(groups)[:budget], minlength=3)
    lower = np.maximum(counts - rng.integers(2, size=3), 0)
    upper = counts + rng.integers(3, size=3)
    bounds = Bounds(names=("a", "b", "c"), groups=groups, lower=lower, upper=upper)
    expected = slow_greedy(points, weights, alpha, bounds, budget)
    before = voting.BLOCK_ROWS
    try:
        for rows in (1, 3, before):
            voting.BLOCK_ROWS = rows
            assert set(greedy(points, weights, np.array(alpha), bounds, budget).tolist()) == set(expected)
    finally:
        voting.BLOCK_ROWS = before


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([[1.0], [1.0, 0.5, 0.25]]))
def test_greedy_reaches_its_guarantee(seed, alpha):
    points = strict_points(np.random.default_rng(seed).normal(size=(4, 9)))
    found = greedy(points, np.ones((4, 1)), np.array(alpha), without_quotas(9, 3), 3)
    best = max(worth(points, chosen, alpha) for chosen in combinations(range(9), 3))
    assert worth(points, tuple(found), alpha) >= (1 - 1 / np.e) * best


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_averages_of_all_ones_are_borda_and_of_a_single_one_chamberlin_courant(seed, budget):
    values = np.random.default_rng(seed).permuted(np.tile(np.arange(12.0), (3, 1)), axis=1)
    assert elected(OWA, values, budget, alpha=(1.0,) * budget) == elected(Borda, values, budget)
    assert elected(OWA, values, budget, alpha=(1.0,)) == elected(ChamberlinCourant, values, budget)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(RULES))
def test_copies_of_all_rankings_and_their_scale_change_nothing(seed, rule):
    values = np.random.default_rng(seed).integers(6, size=(3, 12)).astype(float)
    plain = elected(rule, values, 4)
    assert elected(rule, np.concatenate([values, values]), 4) == plain
    assert elected(rule, 10 * values + 3, 4) == plain
    assert elected(rule, values, 4, weights=(2.0, 2.0, 2.0)) == plain


@pytest.mark.parametrize("rule", RULES)
def test_ties_go_to_the_smaller_ids(rule):
    selection = vote(rule, np.ones((2, 4)), 2, ids=["d", "b", "a", "c"])
    assert selection.weights.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("rule", RULES)
def test_a_score_can_vote_for_its_low_end_and_with_more_weight(rule):
    index = ExampleIndex(["a", "b", "c", "d"])
    scores = {name: Scores(index=index, values=np.arange(4.0), high_means="hard") for name in ("up", "down")}
    signals = Signals(index=index, arrays={})

    def kept(**given_settings: object) -> list[int]:
        selector = rule(fraction=0.25, **given_settings)
        return np.flatnonzero(selector(signals, scores, np.random.default_rng(0)).kept).tolist()

    assert kept(prefer_high=("up",)) == [3]
    assert kept(prefer_low=("up",)) == [0]
    assert kept(prefer_high=("up",), prefer_low=("down",), weights=(3.0, 1.0)) == [3]
    assert kept(prefer_high=("up",), prefer_low=("down",), weights=(1.0, 3.0)) == [0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(RULES), st.integers(6, 18))
def test_quotas_and_the_budget_are_met_exactly(seed, rule, budget):
    values = np.random.default_rng(seed).integers(9, size=(4, 24)).astype(float)
    quotas = Quotas(over=("label", "group"), floor=0.5, ceiling=1.5)
    selection = vote(rule, values, budget, quotas=quotas)
    assert selection.kept.sum() == budget
    groups = np.arange(24) % 3 * 2 + np.arange(24) // 2 % 2
    counts, sizes = np.bincount(groups[selection.kept], minlength=6), np.bincount(groups, minlength=6)
    assert (counts >= np.floor(0.5 * budget * sizes / 24)).all()
    assert (counts <= np.ceil(1.5 * budget * sizes / 24)).all()


@pytest.mark.parametrize("rule", RULES)
def test_quotas_that_bind_nothing_change_nothing(rule):
    values = np.random.default_rng(4).integers(9, size=(4, 24)).astype(float)
    loose = Quotas(over=("label",), ceiling=100.0)
    assert elected(rule, values, 9, quotas=loose) == elected(rule, values, 9)


def test_quotas_undo_a_planted_bias_against_a_group():
    rng = np.random.default_rng(0)
    size = 300
    latent, group = rng.normal(size=size), np.arange(size) // 2 % 2
    votes = latent + 0.3 * rng.normal(size=(5, size))
    biased = votes - 1.5 * group
    fair = Quotas(over=("group",), floor=1.0)
    worth_of = {
        "without": latent[vote(Borda, biased, 60).kept].mean(),
        "with": latent[vote(Borda, biased, 60, quotas=fair).kept].mean(),
        "unbiased": latent[vote(Borda, votes, 60).kept].mean(),
    }
    assert worth_of["without"] < worth_of["with"] - 0.1
    assert worth_of["with"] > worth_of["unbiased"] - 0.1


def test_specialists_are_kept_by_chamberlin_courant_where_borda_keeps_the_middling():
    # Each of three voters loves one example that the others put last; ten are middling for all.
    values = np.tile(np.arange(13.0), (3, 1))
    values[:, :3] = [[99, -1, -2], [-2, 99, -1], [-1, -2, 99]]
    assert elected(Borda, values, 3) == {10, 11, 12}
    assert len(elected(ChamberlinCourant, values, 4) & {0, 1, 2}) == 3


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({}, "a vote needs at least one score in prefer_high or prefer_low"),
        ({"prefer_high": ("a",), "prefer_low": ("a",)}, "a score can vote once, got a, a"),
        ({"prefer_high": ("a", "b"), "weights": (1.0,)}, "weights must be one for each of a, b, got 1"),
        ({"prefer_high": ("a",), "weights": (-1.0,)}, "weights must be finite, at least 0 and not all 0"),
        ({"prefer_high": ("a",), "weights": (0.0,)}, "weights must be finite, at least 0 and not all 0"),
        ({"prefer_high": ("a",), "fraction": 1.5}, r"fraction must be in \(0, 1\], got 1.5"),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_ballots_that_make_no_sense_are_refused(rule, given_settings, message):
    with pytest.raises(ValueError, match=message):
        rule(**{"fraction": 0.5, **given_settings})


def test_averages_must_fall_and_approvals_be_some():
    for alpha in ((), (0.5, 1.0), (0.0,), (1.0, -0.5), (np.inf,)):
        with pytest.raises(ValueError, match="alpha must be non-increasing, at least 0 and the first above 0"):
            OWA(prefer_high=("a",), fraction=0.5, alpha=alpha)
    with pytest.raises(ValueError, match="num_approved must be at least 1, got 0"):
        Bloc(prefer_high=("a",), fraction=0.5, num_approved=0)


def test_a_recipe_section_with_quotas_becomes_a_selector_and_its_settings_come_back():
    from flows import resolve

    section = {
        "method": "borda",
        "prefer_high": ["aum"],
        "prefer_low": ["el2n", "elr_noise"],
        "weights": [1, 0.5, 0.5],
        "fraction": 0.4,
        "quotas": {"over": ["label"], "floor": 0.8, "floors": {"3": 12}},
    }
    selector = resolve.method("selector", section, "selection")
    assert selector.reads == ("aum", "el2n", "elr_noise")
    assert selector.quotas == Quotas(over=("label",), floor=0.8, floors={"3": 12})
    described, revision = resolve.described("selector", section, "selection")
    assert resolve.method("selector", described, "selection") == selector
    assert revision == 1


OVERLAPPING = (
    Quotas(over=("label",), floors={"2": 3}, ceilings={"0": 1}),
    Quotas(over=("group",), floors={"1": 3}),
)


@pytest.mark.parametrize("rule", RULES)
def test_quotas_over_groups_that_overlap_are_all_met(rule):
    values = np.random.default_rng(3).permuted(np.tile(np.arange(12.0), (4, 1)), axis=1)
    # The third of each label would be chosen last.
    values[:, 2::3] -= 12
    chosen = sorted(elected(rule, values, 5, quotas=OVERLAPPING))
    labels, groups = np.array(chosen) % 3, np.array(chosen) // 2 % 2
    assert len(chosen) == 5
    assert (labels == 2).sum() == 3
    assert (labels == 0).sum() <= 1
    assert (groups == 1).sum() >= 3
    reasons = vote(rule, values, 5, quotas=OVERLAPPING).reasons
    assert reasons[chosen[0]] == "elected by s0, s1, s2, s3 within quotas over label, and over group"


@pytest.mark.parametrize("rule", RULES)
def test_everything_is_kept_within_overlapping_quotas(rule):
    quotas = (Quotas(over=("label",), floor=0.5), Quotas(over=("group",), floor=0.5))
    assert elected(rule, np.array([[1.0, 0.0], [0.0, 1.0]]), 2, quotas=quotas) == {0, 1}


def test_a_vote_counts_before_borda_totals_within_overlapping_quotas():
    # Labels 0 1 2 0, groups 0 0 1 1; one of label 0 and one of group 1 at least. The only vote is for the first.
    quotas = (Quotas(over=("label",), ceilings={"1": 0}), Quotas(over=("group",), floors={"1": 1}))
    assert elected(SNTV, np.array([[4.0, 3.0, 2.0, 1.0]]), 2, quotas=quotas) == {0, 2}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_borda_has_the_largest_totals_within_overlapping_quotas(seed, budget):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, size=(2, 9)).astype(np.float64)
    labels, groups = np.arange(9) % 3, np.arange(9) // 2 % 2
    drawn = rng.permutation(9)[:budget]
    quotas = tuple(
        Quotas(over=(name,), floors={str(one): int((column[drawn] == one).sum()) for one in set(column.tolist())})
        for name, column in (("label", labels), ("group", groups))
    )
    totals = borda_totals(values, np.ones((2, 1)))
    feasible = [
        totals[list(rows)].sum()
        for rows in combinations(range(9), budget)
        if sorted(labels[list(rows)]) == sorted(labels[drawn]) and sorted(groups[list(rows)]) == sorted(groups[drawn])
    ]
    assert totals[sorted(elected(Borda, values, budget, quotas=quotas))].sum() == max(feasible)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_greedy_within_overlapping_bounds_takes_what_can_be_completed(seed, budget):
    rng = np.random.default_rng(seed)
    points = strict_points(rng.normal(size=(3, 8)))
    labels, groups = rng.integers(2, size=8), rng.integers(3, size=8)
    drawn = rng.permutation(8)[:budget]
    quotas = [
        Quotas(over=(name,), floors={str(one): int((column[drawn] == one).sum()) for one in set(column.tolist())})
        for name, column in (("label", labels), ("group", groups))
    ]
    index = ExampleIndex(f"world:{number}" for number in range(8))
    bounds = bounds_for(quotas, Signals(index=index, arrays={"label": labels, "group": groups}), budget)
    feasible = [
        set(rows)
        for rows in combinations(range(8), budget)
        if sorted(labels[list(rows)]) == sorted(labels[drawn]) and sorted(groups[list(rows)]) == sorted(groups[drawn])
    ]
    alpha, borda = [1.0, 0.5], points.sum(axis=0)
    expected: list[int] = []
    for _ in range(budget):
        before = worth(points, tuple(expected), alpha)
        ranked = [
            (before - worth(points, (*expected, place), alpha), -borda[place], place)
            for place in set(range(8)) - set(expected)
            if any({*expected, place} <= rows for rows in feasible)
        ]
        if min(ranked)[0] == 0:
            break
        expected.append(min(ranked)[2])
    found = greedy(points, np.ones((3, 1)), np.array(alpha), bounds, budget).tolist()
    assert found[: len(expected)] == expected
    assert set(found) in feasible
