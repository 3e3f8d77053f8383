import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.checks import effective_rank as module
from curation.checks.effective_rank import effective_rank, rank_comparison


def test_ranks_worked_out_by_hand():
    assert effective_rank(np.eye(7)) == pytest.approx(7)
    assert effective_rank(np.outer([1.0, 2.0, 3.0], [4.0, 5.0])) == pytest.approx(1)
    # Shares 3/4 and 1/4: exp(0.75 ln(4/3) + 0.25 ln 4) = exp(0.215762 + 0.346574).
    assert effective_rank(np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) == pytest.approx(1.754765, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scaling_and_turning_change_nothing(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(12, 4)) * [5, 1, 0.3, 0.1]
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    expected = effective_rank(rows)
    assert 1 <= expected <= 4
    assert effective_rank(3.7 * rows @ turn) == pytest.approx(expected)
    assert effective_rank(rows[rng.permutation(12)]) == pytest.approx(expected)


def test_a_selection_of_one_direction_is_seen_and_a_random_one_is_not():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 10))
    rows[:100, 1:] *= 0.01
    flat = rank_comparison(rows, np.arange(400) < 100, np.random.default_rng(1))
    assert flat.kept < 2 < 9 < flat.pool
    assert (flat.num_rows, flat.num_columns) == (100, 10)
    drawn = rank_comparison(rows, rng.permutation(400) < 100, np.random.default_rng(1))
    assert abs(drawn.kept - drawn.pool) < 0.5


def test_everything_kept_is_the_pool_itself():
    rows = np.random.default_rng(0).normal(size=(30, 5))
    found = rank_comparison(rows, np.ones(30, dtype=bool), np.random.default_rng(1))
    assert found.kept == found.pool == effective_rank(rows)
    assert found.pool_spread == 0


def test_more_rows_than_are_measured_are_drawn_on_both_sides(monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 20)
    rows = np.random.default_rng(0).normal(size=(60, 30))
    found = rank_comparison(rows, np.arange(60) < 40, np.random.default_rng(1))
    assert found.num_rows == 20
    assert found.kept < 20
    assert found.pool < 20


def test_zeros_have_no_rank():
    with pytest.raises(ValueError, match="needs a number other than 0, got 3 rows of zeros"):
        effective_rank(np.zeros((3, 2)))
