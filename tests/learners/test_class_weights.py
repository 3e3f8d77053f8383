import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.class_weights import class_factors
from learners.methods.erm import ERM
from tests.learners.states import assert_equal_networks

LABELS = np.array([0, 0, 0, 1])
ONES = np.ones(4, np.float32)


def test_balanced_factors_are_those_worked_out_by_hand():
    # classes of 3 and 1: each shall have half of the mass 4: 2 / 3 and 2 / 1
    np.testing.assert_allclose(class_factors(LABELS, ONES, 2, "balanced"), [2 / 3, 2])


def test_effective_numbers_are_those_worked_out_by_hand():
    # beta 0.5: effective numbers (1 - 0.125) / 0.5 = 1.75 and 1; raw 4/7 and 1; scale 4 / (12/7 + 1) = 28/19
    np.testing.assert_allclose(class_factors(LABELS, ONES, 2, "effective_number", 0.5), [16 / 19, 28 / 19])


def test_effective_number_runs_from_no_weighting_to_balance():
    np.testing.assert_allclose(class_factors(LABELS, ONES, 2, "effective_number", 0.0), [1, 1])
    near = class_factors(LABELS, ONES, 2, "effective_number", 1 - 1e-9)
    np.testing.assert_allclose(near, class_factors(LABELS, ONES, 2, "balanced"), rtol=1e-6)


def test_rows_of_weight_0_and_absent_classes_do_not_count():
    weights = np.array([1, 0, 0, 1], np.float32)
    np.testing.assert_allclose(class_factors(LABELS, weights, 3, "balanced"), [1, 1, 1])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5, width=32)), min_size=1, max_size=30),
    st.sampled_from(["none", "balanced", "effective_number"]),
)
def test_the_sum_of_the_weights_stays_the_same(rows, rule):
    labels, weights = np.array([label for label, _ in rows]), np.array([weight for _, weight in rows], np.float32)
    factors = class_factors(labels, weights, 4, rule)
    assert (factors > 0).all()
    assert (weights * factors[labels]).sum() == pytest.approx(weights.sum(dtype=np.float64), rel=1e-6)


def test_training_with_balanced_classes_is_training_with_these_weights(train, make_table):
    labels = np.repeat([0, 1, 2], [40, 15, 5])
    expected = np.array([20 / 40, 20 / 15, 20 / 5], np.float32)[labels]
    one = train(ERM(), make_table(labels=labels), class_weights="balanced")
    other = train(ERM(), make_table(labels=labels, weights=expected))
    assert_equal_networks(one, other)
