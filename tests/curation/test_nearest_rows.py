import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import nearest_rows as module
from curation.nearest_rows import nearest_rows


def slow(points, asked, num_neighbors, categories=None, mismatch=0.0):
    """Every pair measured one by one; equally distant ones by their row."""
    lists = []
    for row in asked:
        distances = ((points.astype(np.float64) - points[row].astype(np.float64)) ** 2).sum(axis=1)
        if categories is not None:
            distances = distances + mismatch * (categories != categories[row]).sum(axis=1)
        order = sorted((distances[other], other) for other in range(len(points)) if other != row)
        lists.append([other for _, other in order[:num_neighbors]])
    return np.array(lists)


def test_neighbours_by_hand():
    # On a line at 0, 1, 3, 7: from 1 it is 1 to row 0 and 2 to row 2; from 7 it is 4 to row 2.
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert nearest_rows(points, np.array([1, 3]), 2).tolist() == [[0, 2], [2, 1]]


def test_a_differing_category_is_as_far_as_it_is_said_to_be():
    # From row 0 squared: row 1 is 4 + 0, row 2 is 1 + 2 * 3 = 7, or 1 + 2 * 1 = 3 with a smaller amount.
    points, categories = np.array([[0.0], [2.0], [1.0]]), np.array([[5, 5], [5, 5], [6, 7]])
    assert nearest_rows(points, np.array([0]), 2, categories, 3.0).tolist() == [[1, 2]]
    assert nearest_rows(points, np.array([0]), 2, categories, 1.0).tolist() == [[2, 1]]


@settings(max_examples=40, deadline=None)
@given(
    num_points=st.integers(7, 60),
    columns=st.sampled_from([16, 20]),
    values=st.sampled_from([2, 3, 1000]),
    num_categories=st.integers(0, 3),
    offset=st.sampled_from([0.0, 2.0**20, -0.5]),
    size=st.sampled_from([2.0**-40, 1.0, 2.0**60]),
    seed=st.integers(0, 10**6),
)
def test_lists_are_those_of_measuring_every_pair(num_points, columns, values, num_categories, offset, size, seed):
    rng = np.random.default_rng(seed)
    points = (rng.integers(values, size=(num_points, columns)) + offset) * size
    categories = rng.integers(3, size=(num_points, num_categories)) if num_categories else None
    asked = rng.permutation(num_points)[: num_points // 2]
    given_arguments = (points, asked, 5, categories, 2.0 * size**2)
    np.testing.assert_array_equal(nearest_rows(*given_arguments), slow(*given_arguments))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_and_threads_change_nothing(monkeypatch, dtype):
    rng = np.random.default_rng(0)
    points = (np.round(8 * rng.normal(size=(400, 17))) / 8).astype(dtype)
    points[::7] *= 4096
    points[50:60] = points[0]
    whole = nearest_rows(points, np.arange(400), 4)
    for name, value in (("ROWS_AT_ONCE", 37), ("PART_ROWS", 11), ("PAIRS_AT_ONCE", 13), ("GROUPED", 3)):
        monkeypatch.setattr(module, name, value)
    np.testing.assert_array_equal(nearest_rows(points, np.arange(400), 4), whole)
    some = np.arange(390, 0, -3)
    np.testing.assert_array_equal(nearest_rows(points, some, 4), whole[some])
    np.testing.assert_array_equal(whole, slow(points, range(400), 4))


@pytest.mark.parametrize("columns", [2, 20])
def test_more_twins_than_neighbours_are_each_others_neighbours(columns):
    points = np.vstack([np.zeros((9, columns)), np.ones((3, columns))])
    found = nearest_rows(points, np.arange(9), 4)
    assert (found < 9).all()
    assert (found != np.arange(9)[:, None]).all()
    assert all(len(set(one)) == 4 for one in found.tolist())


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="3 neighbours need more than 3 examples, got 3"):
        nearest_rows(np.zeros((3, 2)), np.arange(3), 3)
