import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.allocation import equal_shares, proportional_shares, rounded_to_sum

SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=8)


def test_equal_shares_by_hand():
    # Budget 12 over 2, 10, 5: the smallest gives its 2 (of 4), then 10 / 2 = 5, then the 5 that are left.
    assert equal_shares(np.array([2, 10, 5]), 12).tolist() == [2, 5, 5]
    # Budget 10 over three large parts: 10 // 3 = 3, 7 // 2 = 3, 4.
    assert equal_shares(np.array([9, 9, 9]), 10).tolist() == [3, 3, 4]
    assert equal_shares(np.array([0, 4]), 3).tolist() == [0, 3]


def test_proportional_shares_by_hand():
    # 7 of 20: 50 % is 3.5, 30 % is 2.1, 20 % is 1.4; the one left goes to the largest remainder.
    assert proportional_shares(np.array([10, 6, 4]), 7).tolist() == [4, 2, 1]
    # 3 of 4 equal parts of 2: remainders all tie at 0.75, the first three get one.
    assert proportional_shares(np.array([2, 2, 2, 2]), 3).tolist() == [1, 1, 1, 0]


def test_rounding_to_the_sum_by_hand():
    # 1.25 + 2.25 + 0.5 = 4, nearest 1 + 2 + 0 = 3: the one rounded down furthest is raised.
    assert rounded_to_sum(np.array([1.25, 2.25, 0.5])).tolist() == [1, 2, 1]
    # 1.375 + 2.375 + 0.25 = 4, nearest 3: of the two that tie the last is raised.
    assert rounded_to_sum(np.array([1.375, 2.375, 0.25])).tolist() == [1, 3, 0]
    # 0.625 + 0.75 + 0.625 = 2, nearest 3: of the two rounded up furthest the first is lowered.
    assert rounded_to_sum(np.array([0.625, 0.75, 0.625])).tolist() == [0, 1, 1]
    assert rounded_to_sum(np.array([3.0, 5.0])).tolist() == [3, 5]


@settings(max_examples=40, deadline=None)
@given(SIZES, st.floats(0, 1))
def test_shares_add_up_within_the_sizes(sizes, part):
    sizes = np.array(sizes)
    budget = int(part * sizes.sum())
    for allocate in (equal_shares, proportional_shares):
        shares = allocate(sizes, budget)
        assert shares.sum() == budget
        assert ((shares >= 0) & (shares <= sizes)).all()


@settings(max_examples=40, deadline=None)
@given(SIZES, st.floats(0, 1))
def test_equal_shares_agree_with_dealing_one_at_a_time(sizes, part):
    sizes = np.array(sizes)
    budget = int(part * sizes.sum())
    dealt = np.zeros(len(sizes), dtype=int)
    for _ in range(budget):
        open_parts = np.flatnonzero(dealt < sizes)
        dealt[open_parts[dealt[open_parts].argmin()]] += 1
    np.testing.assert_array_equal(np.sort(equal_shares(sizes, budget)), np.sort(dealt))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9), st.integers(1, 60))
def test_rounding_keeps_the_sum_and_moves_no_value_by_one(parts, total):
    values = np.array(parts) / max(1, sum(parts)) * total
    rounded = rounded_to_sum(values)
    assert rounded.sum() == round(values.sum())
    assert (np.abs(rounded - values) < 1 + 1e-9).all()


def test_a_budget_above_all_parts_is_refused():
    for allocate in (equal_shares, proportional_shares):
        with pytest.raises(ValueError, match=r"budget must be in \[0, 5\], the size of all parts together, got 6"):
            allocate(np.array([2, 3]), 6)
