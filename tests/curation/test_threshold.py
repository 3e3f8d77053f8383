import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.scorers.elr_noise import ELRNoise
from curation.selectors.threshold import Threshold
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals
from tests.worlds import planted_flips


def run(selector: Threshold, values: list[float]) -> Selection:
    index = ExampleIndex(f"world:{number}" for number in range(len(values)))
    scores = {"el2n": Scores(index=index, values=np.array(values), high_means="hard")}
    return selector(Signals(index=index, arrays={}), scores, np.random.default_rng(0))


def test_bounds_are_inclusive_and_the_reasons_name_them():
    selection = run(Threshold(score="el2n", minimum=0.2, maximum=0.9), [0.1, 0.2, 0.5, 0.9, 0.95])
    assert selection.weights.tolist() == [0, 1, 1, 1, 0]
    assert selection.reasons.tolist() == [
        "el2n below 0.2",
        "el2n in [0.2, 0.9]",
        "el2n in [0.2, 0.9]",
        "el2n in [0.2, 0.9]",
        "el2n above 0.9",
    ]


def test_one_bound_is_enough():
    low = run(Threshold(score="el2n", minimum=0.5), [0.1, 0.5])
    assert low.reasons.tolist() == ["el2n below 0.5", "el2n at least 0.5"]
    high = run(Threshold(score="el2n", maximum=0.1), [0.1, 0.5])
    assert high.reasons.tolist() == ["el2n at most 0.1", "el2n above 0.1"]
    assert high.weights.tolist() == [1, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(-3, 3), st.floats(0, 3))
def test_the_choice_agrees_with_a_loop(values, minimum, width):
    expected = [float(minimum <= value <= minimum + width) for value in values]
    selector = Threshold(score="el2n", minimum=minimum, maximum=minimum + width)
    if not any(expected):
        with pytest.raises(ValueError, match="no example has el2n in"):
            run(selector, values)
    else:
        assert run(selector, values).weights.tolist() == expected


def test_a_bound_that_keeps_nothing_is_refused_with_the_range_of_the_score():
    with pytest.raises(ValueError, match=r"no example has el2n at least 2; the score runs from 0\.1 to 0\.5"):
        run(Threshold(score="el2n", minimum=2), [0.1, 0.5])


def test_planted_flips_are_cut_where_the_memory_disagrees():
    world = planted_flips()
    scores = {"elr": ELRNoise()(world.signals)}
    selection = Threshold(score="elr", maximum=0.0)(world.signals, scores, np.random.default_rng(0))
    np.testing.assert_array_equal(selection.kept, ~scores["elr"].columns["flagged"])
    assert world.wrong[selection.kept].mean() < 0.02


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "threshold needs a minimum, a maximum or both, got neither"),
        ({"minimum": 2.0, "maximum": 1.0}, "minimum must be at most maximum, 1.0, got 2.0"),
        ({"minimum": float("nan")}, "minimum must be finite, got nan"),
        ({"maximum": float("inf")}, "maximum must be finite, got inf"),
    ],
)
def test_impossible_bounds_are_refused(bounds, message):
    with pytest.raises(ValueError, match=message):
        Threshold(score="el2n", **bounds)
