import numpy as np
import pytest

from curation.selectors.class_weights import ClassWeights, balanced_weights, effective_number_weights
from storage.index import ExampleIndex
from storage.values import Signals


def test_balanced_weights_by_hand():
    # 6 examples, 2 classes with any: 6 / (2 * 4) = 0.75 and 6 / (2 * 2) = 1.5.
    np.testing.assert_allclose(balanced_weights(np.array([4, 0, 2])), [0.75, 0, 1.5])


def test_effective_number_weights_by_hand():
    # beta = 0.5: 0.5 / (1 - 0.5^1) = 1 and 0.5 / (1 - 0.5^2) = 2/3; their mean over 1 + 2 examples is
    # (1 + 4/3) / 3 = 7/9, so 9/7 and 6/7.
    np.testing.assert_allclose(effective_number_weights(np.array([1, 2]), 0.5), [9 / 7, 6 / 7])


def test_the_ends_of_beta_are_equal_weights_and_balanced_ones():
    counts = np.array([3, 17, 80])
    np.testing.assert_allclose(effective_number_weights(counts, 0.0), [1, 1, 1])
    np.testing.assert_allclose(effective_number_weights(counts, 1 - 1e-9), balanced_weights(counts), rtol=1e-6)


def test_every_example_is_kept_with_the_weight_of_its_class():
    signals = Signals(index=ExampleIndex(["w:1", "w:2", "w:3"]), arrays={"label": np.array([1, 0, 0])})
    selection = ClassWeights()(signals, {}, np.random.default_rng(0))
    np.testing.assert_allclose(selection.weights, [1.5, 0.75, 0.75])
    assert selection.reasons.tolist() == ["1 of 1 of its class", "1 of 2 of its class", "1 of 2 of its class"]
    weighted = ClassWeights(rule="effective_number", beta=0.5)(signals, {}, np.random.default_rng(0))
    np.testing.assert_allclose(weighted.weights, [9 / 7, 6 / 7, 6 / 7], rtol=1e-6)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"rule": "inverse"}, "rule must be one of balanced, effective_number, got 'inverse'"),
        ({"beta": 0.9}, "beta has no effect with rule = 'balanced', got 0.9"),
        ({"rule": "effective_number"}, r"beta must be in \[0, 1\) with rule = 'effective_number', got None"),
        ({"rule": "effective_number", "beta": 1.0}, r"beta must be in \[0, 1\) .* got 1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given_settings, message):
    with pytest.raises(ValueError, match=message):
        ClassWeights(**given_settings)
