import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from curation.softmax import log_softmax, softmax

LOGITS = arrays(np.float64, array_shapes(min_dims=1, max_dims=3, max_side=5), elements=st.floats(-50, 50))


def test_probabilities_come_back_from_their_logarithms():
    np.testing.assert_allclose(softmax(np.log([0.7, 0.2, 0.1])), [0.7, 0.2, 0.1], rtol=1e-14)
    np.testing.assert_allclose(np.exp(log_softmax(np.zeros(4))), [0.25] * 4, rtol=1e-14)


def test_huge_logits_neither_overflow_nor_vanish():
    np.testing.assert_array_equal(softmax(np.array([1000.0, -1000.0])), [1.0, 0.0])
    np.testing.assert_allclose(log_softmax(np.array([1000.0, -1000.0])), [0.0, -2000.0])


def test_the_input_keeps_its_values():
    logits = np.array([1.0, 2.0])
    log_softmax(logits)
    np.testing.assert_array_equal(logits, [1.0, 2.0])


@settings(max_examples=40, deadline=None)
@given(LOGITS)
def test_both_agree_with_scipy_and_sum_to_one(logits):
    np.testing.assert_allclose(softmax(logits), scipy.special.softmax(logits, axis=-1), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(log_softmax(logits), scipy.special.log_softmax(logits, axis=-1), rtol=1e-12, atol=1e-13)
    assert softmax(logits).sum(axis=-1) == pytest.approx(1.0, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(LOGITS, st.floats(-100, 100))
def test_a_constant_added_to_all_logits_changes_nothing(logits, constant):
    np.testing.assert_allclose(log_softmax(logits + constant), log_softmax(logits), atol=1e-11)
