import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.interpolation import drawn_pairs, interpolated
from curation.rebalance.smote import SMOTE
from tests.curation.imbalanced import assert_on_segments, clouds, training_rows


def test_a_row_between_two_by_hand():
    # From (6, 4) to (4, 3): at gap g the row is (6 - 2g, 4 - g), on the line x = 2y - 2.
    first, second = np.array([[6.0, 4.0]] * 3), np.array([[4.0, 3.0]] * 3)
    rows = interpolated(first, second, np.array([0.0, 0.25, 0.5]))
    assert rows.tolist() == [[6, 4], [5.5, 3.75], [5, 3.5]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_all_rows_of_two_lie_on_the_line_through_them(seed, gain):
    rows = training_rows([[6, 4], [4, 3], *[[50, 50]] * 45], [1, 1, *[0] * 45])
    made = SMOTE(balance={"b": 2 + gain}, num_neighbors=1)(rows, np.random.default_rng(seed))
    assert len(made) == gain
    x, y = made.features.T
    np.testing.assert_allclose(x, 2 * y - 2, atol=1e-12)
    assert x.min() >= 4
    assert x.max() <= 6
    assert set(zip(made.parent_a.tolist(), made.parent_b.tolist(), strict=True)) <= {(0, 1), (1, 0)}


def test_gaps_are_uniform():
    # Between 0 and 1 with one neighbour each: mean 1/2, variance 1/12; 4000 draws give it to about 0.005.
    rows = training_rows([[0.0], [1.0], *[[9.0]] * 4002], [1, 1, *[0] * 4002])
    made = SMOTE(num_neighbors=1)(rows, np.random.default_rng(0))
    assert len(made) == 4000
    assert abs(made.features.mean() - 0.5) < 0.02
    assert abs(made.features.var() - 1 / 12) < 0.005


def test_pairs_are_drawn_from_the_whole_table_with_replacement():
    pairs = drawn_pairs(3, 2, 6000, np.random.RandomState(0))
    counts = np.bincount(pairs.base * 2 + pairs.column, minlength=6)
    # 6000 draws from 6 cells: 1000 each with standard deviation sqrt(6000 * 5 / 36) = 29.
    assert np.abs(counts - 1000).max() < 120


def test_every_row_can_be_made_again_from_its_parents():
    rows = clouds(counts=(80, 20, 30), columns=18, twins=5, dtype=np.float32)
    made = SMOTE()(rows, np.random.default_rng(0))
    assert_on_segments(rows, made)
    np.testing.assert_array_equal(rows.labels[made.parent_b], made.labels)
    assert np.bincount(made.labels, minlength=3).tolist() == [0, 60, 50]


def test_a_row_made_from_a_planted_outlier_says_so():
    rows = training_rows([[float(value)] for value in [0, 1, 2, 3, 100, *range(200, 212)]], [1] * 5 + [0] * 12)
    made = SMOTE(num_neighbors=2)(rows, np.random.default_rng(0))
    far = (made.features[:, 0] > 3) & (made.features[:, 0] < 200)
    assert far.any()
    assert (made.parent_a[far] == 4).all()


def test_categories_and_missing_numbers_are_refused():
    with pytest.raises(ValueError, match="smote cannot mix categories; use smote_nc, or smote_n"):
        SMOTE()(clouds(num_categories=1), np.random.default_rng(0))
    with pytest.raises(ValueError, match="smote needs at least one numeric feature, got none"):
        SMOTE()(clouds(columns=0), np.random.default_rng(0))
