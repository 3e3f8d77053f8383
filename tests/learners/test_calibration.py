import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from learners.calibration import (
    area_under_risk_coverage,
    brier_score,
    confidence,
    excess_area_under_risk_coverage,
    expected_calibration_error,
    fitted_temperature,
    negative_log_likelihood,
    risk_curve,
)

# Six predictions: accuracy 0.5, mean confidence 0.7. Two bins: all but the last lie in (0.5, 1],
# |(1 + 1 + 0 + 1 + 0) - 3.75| / 6 + |0 - 0.45| / 6 = 0.125 + 0.075 = 0.2.
CONFIDENCES = np.array([0.95, 0.85, 0.75, 0.65, 0.55, 0.45])
CORRECT = np.array([True, True, False, True, False, False])


@pytest.mark.parametrize(("num_bins", "error"), [(10, 0.383333), (2, 0.2), (1, 0.2)])
def test_calibration_error_by_hand(num_bins, error):
    assert expected_calibration_error(CONFIDENCES, CORRECT, num_bins=num_bins) == pytest.approx(error, abs=1e-6)


def test_risk_curve_and_its_areas_by_hand():
    # after 1 .. 6 examples there are 0, 0, 1, 1, 2, 3 errors; the best order puts the errors last: 1/4, 2/5, 3/6
    np.testing.assert_allclose(risk_curve(CONFIDENCES, CORRECT), [0, 0, 1 / 3, 1 / 4, 2 / 5, 1 / 2])
    assert area_under_risk_coverage(CONFIDENCES, CORRECT) == pytest.approx(0.247222, abs=1e-6)
    assert excess_area_under_risk_coverage(CONFIDENCES, CORRECT) == pytest.approx(0.055556, abs=1e-6)


def test_likelihood_and_brier_score_by_hand():
    # -(log 0.7 + log 0.3) / 2 = 0.780324; ((0.09 + 0.04 + 0.01) + (0.01 + 0.36 + 0.49)) / 2 = 0.5
    probs, labels = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]), np.array([0, 2])
    assert negative_log_likelihood(np.log(probs), labels) == pytest.approx(0.780324, abs=1e-6)
    assert brier_score(probs, labels) == pytest.approx(0.5)


def test_equal_confidences_give_the_error_rate_as_area_and_a_certain_order_gives_no_excess():
    assert area_under_risk_coverage(np.full(6, 0.5), CORRECT) == pytest.approx(0.5)
    assert excess_area_under_risk_coverage(np.array([9, 8, 1, 7, 2, 3.0]), CORRECT) == pytest.approx(0.0)


def test_ties_count_as_the_mean_over_their_orders():
    confidences, correct = np.array([3.0, 2, 2, 2, 1]), np.array([True, False, True, True, False])
    rng = np.random.default_rng(0)
    broken = [area_under_risk_coverage(confidences + 1e-6 * rng.random(5), correct) for _ in range(4000)]
    assert area_under_risk_coverage(confidences, correct) == pytest.approx(np.mean(broken), abs=0.005)


def test_likelihood_equals_scikit_learns():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(50, 4)) * 3, rng.integers(4, size=50)
    expected = log_loss(labels, softmax(logits, axis=1), labels=range(4))
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 60), st.integers(0, 1000))
def test_calibration_error_equals_a_loop_over_bins(num_bins, size, seed):
    rng = np.random.default_rng(seed)
    confidences, correct = rng.choice([0.0, 1.0, 0.5, rng.random()], size=size), rng.random(size) < 0.6
    error = 0.0
    for number in range(num_bins):
        low, high = number / num_bins, (number + 1) / num_bins
        inside = (confidences > low) & (confidences <= high) | ((number == 0) & (confidences == 0))
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidences[inside].mean())
    assert expected_calibration_error(confidences, correct, num_bins=num_bins) == pytest.approx(error, abs=1e-9)


def test_scores_are_least_at_the_true_distribution():
    rng = np.random.default_rng(2)
    truth = np.array([0.6, 0.3, 0.1])
    labels = rng.choice(3, size=20000, p=truth)
    for other in ([0.5, 0.35, 0.15], [0.7, 0.25, 0.05]):
        probs = {name: np.tile(row, (20000, 1)) for name, row in (("true", truth), ("other", np.array(other)))}
        assert brier_score(probs["true"], labels) < brier_score(probs["other"], labels)
        likelihoods = [negative_log_likelihood(np.log(probs[name]), labels) for name in ("true", "other")]
        assert likelihoods[0] < likelihoods[1]


def test_temperature_scaling_finds_the_temperature_the_labels_were_drawn_at():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(20000, 4)) * 3
    labels = np.array([rng.choice(4, p=row) for row in softmax(logits / 2.5, axis=1)])
    found = fitted_temperature(logits, labels)
    assert found == pytest.approx(2.5, rel=0.04)
    nearby = [negative_log_likelihood(logits / t, labels) for t in (found * 0.99, found, found * 1.01)]
    assert nearby[1] == min(nearby)


def test_a_temperature_without_an_optimum_is_refused():
    with pytest.raises(ValueError, match="no temperature between"):
        fitted_temperature(np.array([[2.0, 0], [0, 2.0]]), np.array([0, 1]))


def test_confidence_is_the_largest_probability():
    found, right = confidence(np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([0, 0]))
    assert found.tolist() == [0.7, 0.8]
    assert right.tolist() == [True, False]


def test_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        expected_calibration_error(CONFIDENCES, CORRECT, num_bins=0)
    with pytest.raises(ValueError, match=r"confidences must be in \[0, 1\]"):
        expected_calibration_error(CONFIDENCES * 3, CORRECT)
