import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.scorers.el2n import EL2N
from curation.selectors.class_balanced import ClassBalanced
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals
from tests.worlds import planted_flips


def run(selector: ClassBalanced, values: list[float], labels: list[int]) -> Selection:
    index = ExampleIndex(f"world:{number:03}" for number in range(len(values)))
    scores = {"el2n": Scores(index=index, values=np.array(values, dtype=float), high_means="hard")}
    signals = Signals(index=index, arrays={"label": np.array(labels)})
    return selector(signals, scores, np.random.default_rng(0))


def test_two_of_each_class_by_hand():
    values = [0.1, 0.9, 0.5, 0.7, 0.3, 0.2, 0.8, 0.4]
    labels = [0, 0, 0, 0, 0, 1, 1, 1]
    selection = run(ClassBalanced(score="el2n", fraction=0.5), values, labels)
    assert selection.weights.tolist() == [0, 1, 0, 1, 0, 0, 1, 1]
    assert selection.reasons[1] == "el2n among the highest of its class, equal shares"
    assert selection.reasons[0] == "el2n not among the highest of its class"


def test_proportional_shares_and_the_low_end_by_hand():
    # 4 of 8: class 0 has 5 (2.5), class 1 has 3 (1.5); the tie of remainders goes to class 0.
    values = [0.1, 0.9, 0.5, 0.7, 0.3, 0.2, 0.8, 0.4]
    labels = [0, 0, 0, 0, 0, 1, 1, 1]
    selector = ClassBalanced(score="el2n", fraction=0.5, keep="low", shares="proportional")
    assert run(selector, values, labels).weights.tolist() == [1, 0, 1, 0, 1, 1, 0, 0]


def test_ties_go_to_the_smaller_ids_inside_each_class():
    selection = run(ClassBalanced(score="el2n", fraction=0.5), [1.0] * 8, [0, 1] * 4)
    assert selection.weights.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_what_a_small_class_cannot_fill_goes_to_the_others():
    selection = run(ClassBalanced(score="el2n", fraction=0.6), list(range(10)), [0] + [1] * 9)
    assert selection.weights.tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 1, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1.0), st.sampled_from(["equal", "proportional"]))
def test_inside_each_class_what_is_kept_scores_no_lower_than_what_is_dropped(seed, fraction, shares):
    rng = np.random.default_rng(seed)
    values, labels = rng.integers(6, size=40).astype(float), rng.integers(3, size=40)
    selection = run(ClassBalanced(score="el2n", fraction=fraction, shares=shares), values, labels)
    assert selection.kept.sum() == int(fraction * 40 + 0.5)
    for label in range(3):
        inside = labels == label
        kept, dropped = values[inside & selection.kept], values[inside & ~selection.kept]
        assert kept.min(initial=np.inf) >= dropped.max(initial=-np.inf)


def test_a_class_that_scores_low_throughout_keeps_its_place():
    world = planted_flips()
    hard = EL2N(epoch=1)(world.signals)
    labels = world.signals["label"]
    tilted = Scores(index=hard.index, values=hard.values - 5.0 * (labels == 2), high_means="hard")
    selector = ClassBalanced(score="el2n", fraction=0.4)
    selection = selector(world.signals, {"el2n": tilted}, np.random.default_rng(0))
    assert np.bincount(labels[selection.kept]).tolist() == [20, 20, 20, 20]


def test_settings_and_pools_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="shares must be one of equal, proportional, got 'fair'"):
        ClassBalanced(score="el2n", fraction=0.5, shares="fair")
    with pytest.raises(ValueError, match="keep must be one of high, low, got 'top'"):
        ClassBalanced(score="el2n", fraction=0.5, keep="top")
    index = ExampleIndex(["a", "b"])
    scores = {"el2n": Scores(index=index, values=np.zeros(2), high_means="hard")}
    with pytest.raises(ValueError, match="signal 'label' was not recorded"):
        ClassBalanced(score="el2n", fraction=0.5)(Signals(index=index, arrays={}), scores, np.random.default_rng(0))
