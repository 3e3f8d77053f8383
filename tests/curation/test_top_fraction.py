import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.scorers.el2n import EL2N
from curation.selectors.top_fraction import TopFraction
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals
from tests.worlds import planted_flips


def run(selector: TopFraction, values: list[float], ids: list[str] | None = None) -> Selection:
    index = ExampleIndex(ids or [f"world:{number:03}" for number in range(len(values))])
    scores = {"el2n": Scores(index=index, values=np.array(values), high_means="hard")}
    return selector(Signals(index=index, arrays={}), scores, np.random.default_rng(0))


def test_the_highest_two_of_five_are_kept_and_the_reason_says_so():
    selection = run(TopFraction(score="el2n", fraction=0.4), [0.1, 0.9, 0.5, 0.7, 0.3])
    assert selection.weights.tolist() == [0, 1, 0, 1, 0]
    assert selection.reasons[1] == "el2n among the 40 % highest"
    assert selection.reasons[0] == "el2n not among the 40 % highest"


def test_the_window_drops_the_very_end_first():
    selection = run(TopFraction(score="el2n", fraction=0.4, drop_first=0.2), [0.1, 0.9, 0.5, 0.7, 0.3])
    assert selection.weights.tolist() == [0, 0, 1, 1, 0]
    assert selection.reasons.tolist() == [
        "el2n not among the 40 % highest after the 20 % highest",
        "el2n among the 20 % highest, dropped first",
        "el2n among the 40 % highest after the 20 % highest",
        "el2n among the 40 % highest after the 20 % highest",
        "el2n not among the 40 % highest after the 20 % highest",
    ]


def test_the_lowest_end_can_be_kept_instead():
    selection = run(TopFraction(score="el2n", fraction=0.4, keep="low", drop_first=0.2), [0.1, 0.9, 0.5, 0.7, 0.3])
    assert selection.weights.tolist() == [0, 0, 1, 0, 1]
    assert selection.reasons[0] == "el2n among the 20 % lowest, dropped first"


def test_ties_at_the_cut_go_to_the_smaller_ids():
    selection = run(TopFraction(score="el2n", fraction=0.5), [1.0, 1.0, 1.0, 1.0], ids=["d", "b", "a", "c"])
    assert selection.weights.tolist() == [0, 1, 1, 0]


def test_where_both_shares_round_up_past_all_examples_the_budget_wins():
    selection = run(TopFraction(score="el2n", fraction=0.5, drop_first=0.5), [3.0, 2.0, 1.0])
    assert selection.weights.tolist() == [0, 1, 1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=5, max_size=40),
    st.floats(0.2, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from(["high", "low"]),
)
def test_the_window_agrees_with_sorting_pairs_and_cutting(values, fraction, share, keep):
    drop_first = share * (1 - fraction)
    selection = run(TopFraction(score="el2n", fraction=fraction, keep=keep, drop_first=drop_first), values)
    sign = -1 if keep == "high" else 1
    order = sorted(range(len(values)), key=lambda place: (sign * values[place], place))
    kept = int(fraction * len(values) + 0.5)
    first = min(int(drop_first * len(values) + 0.5), len(values) - kept)
    assert sorted(order[first : first + kept]) == np.flatnonzero(selection.kept).tolist()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=4, max_size=20, unique=True), st.floats(0.1, 10))
def test_only_the_order_of_the_scores_matters(values, scale):
    selector = TopFraction(score="el2n", fraction=0.5)
    order = np.argsort(np.argsort(values)).astype(float) * scale
    assert run(selector, values).weights.tolist() == run(selector, order.tolist()).weights.tolist()


def test_keeping_the_easy_three_quarters_of_a_planted_world_removes_nearly_all_flips():
    world = planted_flips(rate=0.25)
    scores = {"el2n": EL2N(epoch=1)(world.signals)}
    selector = TopFraction(score="el2n", fraction=0.75, keep="low")
    selection = selector(world.signals, scores, np.random.default_rng(0))
    assert world.wrong[selection.kept].mean() < 0.02


@pytest.mark.parametrize(
    ("settings_given", "message"),
    [
        ({"fraction": 0.0}, r"fraction must be in \(0, 1\], got 0.0"),
        ({"fraction": 1.2}, r"fraction must be in \(0, 1\], got 1.2"),
        ({"fraction": 0.5, "keep": "middle"}, "keep must be one of high, low, got 'middle'"),
        ({"fraction": 0.75, "drop_first": 0.3}, r"drop_first must be in .* = \[0, 0.25\], got 0.3"),
        ({"fraction": 0.75, "drop_first": -0.1}, "drop_first must be in .*, got -0.1"),
    ],
)
def test_settings_outside_their_range_are_refused(settings_given, message):
    with pytest.raises(ValueError, match=message):
        TopFraction(score="el2n", **settings_given)


def test_decimal_shares_that_add_up_to_one_are_accepted():
    for fraction in np.arange(1, 100) / 100:
        TopFraction(score="el2n", fraction=fraction, drop_first=round(1 - fraction, 2))
