import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from learners.significance import (
    bootstrap_interval,
    combined_f_test,
    holm_adjusted,
    mcnemar,
    paired_difference,
    wilson_interval,
)


def right_and_wrong(b, c, both=10):
    first = np.array([True] * b + [False] * c + [True] * both)
    second = np.array([False] * b + [True] * c + [True] * both)
    return first, second


def test_mcnemar_by_hand():
    # b = 25, c = 10: (|25 - 10| - 1)^2 / 35 = 5.6
    found = mcnemar(*right_and_wrong(25, 10))
    assert (found.first_only, found.second_only) == (25, 10)
    assert found.chi_squared == pytest.approx(5.6)
    assert found.approximate == pytest.approx(0.01796, abs=1e-5)
    assert found.exact == pytest.approx(0.016674, abs=1e-6)
    assert found.mid == pytest.approx(0.011331, abs=1e-6)


def test_mcnemar_of_models_that_never_differ_finds_nothing():
    found = mcnemar(*right_and_wrong(0, 0))
    assert (found.exact, found.mid, found.approximate) == (1.0, 1.0, 1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 40))
def test_mcnemar_is_symmetric_and_equals_the_binomial_test(b, c):
    first, second = right_and_wrong(b, c)
    one, other = mcnemar(first, second), mcnemar(second, first)
    assert (one.exact, one.mid, one.chi_squared) == (other.exact, other.mid, other.chi_squared)
    assert one.exact == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue)


def test_f_test_by_hand():
    # every variance is 5e-5; sum of squares 0.00445; F = 0.00445 / (2 * 2.5e-4) = 8.9
    differences = np.array([(0.02, 0.01), (0.03, 0.02), (0.01, 0.02), (0.02, 0.03), (0.015, 0.025)])
    found = combined_f_test(differences)
    assert found.statistic == pytest.approx(8.9)
    assert found.p_value == pytest.approx(0.013123, abs=1e-6)


def test_f_test_without_variance_says_nothing():
    assert np.isnan(combined_f_test(np.full((5, 2), 0.02)).p_value)
    with pytest.raises(ValueError, match=r"differences must be \(5, 2\)"):
        combined_f_test(np.zeros((2, 5)))


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.04 times 3, 2, 1: 0.03, 0.04, 0.04
    np.testing.assert_allclose(holm_adjusted([0.04, 0.01, 0.02]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm_adjusted([0.9, 0.8]), [1.0, 1.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.2))
def test_holm_rejects_what_the_step_by_step_procedure_rejects(p_values, level):
    rejected, order = set(), np.argsort(p_values, kind="stable")
    for step, place in enumerate(order):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(int(place))
    assert set(np.flatnonzero(holm_adjusted(p_values) <= level).tolist()) == rejected


def test_wilson_interval_by_hand():
    found = wilson_interval(850, 1000)
    assert found.estimate == 0.85
    assert found.low == pytest.approx(0.826531, abs=1e-6)
    assert found.high == pytest.approx(0.870790, abs=1e-6)
    assert wilson_interval(0, 10).low >= 0
    assert wilson_interval(10, 10).high <= 1


def test_paired_interval_of_one_seed_is_as_wide_as_the_normal_one():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 2, size=4000), rng.normal(0.8, 2, size=4000)
    found = paired_difference(first, second)
    differences = first - second
    half = 1.96 * differences.std() / np.sqrt(4000)
    assert found.estimate == pytest.approx(differences.mean())
    assert found.low == pytest.approx(differences.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(differences.mean() + half, abs=0.15 * half)


def test_pairing_finds_a_difference_that_separate_intervals_would_miss():
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 10, size=500)
    first = hard + rng.normal(0.2, 0.5, size=500)
    assert paired_difference(first, hard).excludes_zero
    assert not paired_difference(first, rng.permutation(hard)).excludes_zero


def test_variation_between_seeds_widens_the_interval():
    rng = np.random.default_rng(2)
    by_seed = np.repeat(np.array([[0.0], [1.0], [2.0]]), 200, axis=1)
    steady = np.full((3, 200), 1.0)
    noise = rng.normal(0, 0.1, size=(3, 200))
    zero = np.zeros((3, 200))
    wide, narrow = (paired_difference(one + noise, zero) for one in (by_seed, steady))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert wide.estimate == pytest.approx(narrow.estimate)


def test_any_statistic_is_computed_afresh_in_every_replicate():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(2, 300))
    mean = bootstrap_interval(
        lambda seeds, examples: float(values[seeds][:, examples].mean()), num_examples=300, num_seeds=2
    )
    fast = paired_difference(values, np.zeros_like(values))
    assert mean.estimate == pytest.approx(fast.estimate)
    assert mean.low == pytest.approx(fast.low)
    assert mean.high == pytest.approx(fast.high)
    lowest = bootstrap_interval(
        lambda seeds, examples: float(values[0][examples].min()), num_examples=300, num_replicates=200
    )
    assert lowest.low == lowest.estimate
    assert lowest.high > lowest.estimate


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for draw in range(200):
        found = paired_difference(rng.normal(0.5, 1, size=100), np.zeros(100), num_replicates=300, seed=draw)
        covered += found.low <= 0.5 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 1.0"):
        paired_difference(np.zeros(3), np.ones(3), level=1.0)
    with pytest.raises(ValueError, match="num_replicates must be at least 100, got 5"):
        paired_difference(np.zeros(3), np.ones(3), num_replicates=5)
    with pytest.raises(ValueError, match="first and second must both be"):
        paired_difference(np.zeros(3), np.ones(4))
    with pytest.raises(ValueError, match="p_values must be"):
        holm_adjusted([1.2])
