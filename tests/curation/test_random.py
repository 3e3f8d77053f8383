import numpy as np
import pytest
from scipy.stats import binom

from curation.selectors.random import Random
from storage.index import ExampleIndex
from storage.values import Signals


def pool(num_examples: int) -> Signals:
    return Signals(index=ExampleIndex(f"world:{number}" for number in range(num_examples)), arrays={})


def test_a_fifth_of_ten_is_two_and_no_scores_are_needed():
    selection = Random(fraction=0.2)(pool(10), {}, np.random.default_rng(0))
    assert dict(selection.counts()) == {
        "among the 20 % drawn at random": 2,
        "not among the 20 % drawn at random": 8,
    }
    assert selection.weights.sum() == 2
    assert Random(fraction=0.2).reads == ()


def test_every_example_is_drawn_equally_often():
    signals, draws = pool(8), 2000
    times = np.zeros(8, dtype=int)
    for seed in range(draws):
        times += Random(fraction=0.25)(signals, {}, np.random.default_rng(seed)).kept
    assert times.sum() == 2 * draws
    low, high = binom.interval(1 - 1e-6, draws, 0.25)
    assert (times >= low).all()
    assert (times <= high).all()


def test_another_generator_draws_another_subset():
    signals = pool(100)
    one = Random(fraction=0.5)(signals, {}, np.random.default_rng(1)).kept
    other = Random(fraction=0.5)(signals, {}, np.random.default_rng(2)).kept
    assert (one != other).any()


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.4, float("nan")])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\], got"):
        Random(fraction=fraction)
