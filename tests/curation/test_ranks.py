import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.ranks import ascending, budget, by_id, descending


def test_three_values_with_a_tie_are_ordered_by_value_then_id():
    values = np.array([2.0, 1.0, 2.0])
    ids = pl.Series(["z", "m", "a"])
    assert ascending(values, ids).tolist() == [1, 2, 0]
    assert descending(values, ids).tolist() == [2, 0, 1]
    assert by_id(ids).tolist() == [2, 1, 0]


def test_both_signs_of_zero_tie():
    assert ascending(np.array([0.0, -0.0]), pl.Series(["a", "b"])).tolist() == [0, 1]
    assert ascending(np.array([-0.0, 0.0]), pl.Series(["b", "a"])).tolist() == [1, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_agrees_with_python_sorting_pairs(values, shuffler):
    ids = [f"world:{number}" for number in range(len(values))]
    shuffler.shuffle(ids)
    pairs = list(zip(values, ids, strict=True))
    found = [pairs[place] for place in ascending(np.array(values, dtype=float), pl.Series(ids))]
    assert found == sorted(pairs)
    found = [pairs[place] for place in descending(np.array(values, dtype=float), pl.Series(ids))]
    assert found == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


@pytest.mark.parametrize(
    ("fraction", "num_examples", "expected"),
    [(0.5, 5, 3), (0.25, 10, 3), (0.3, 10, 3), (0.1, 4, 0), (1.0, 7, 7), (0.7, 10, 7), (0.5, 1, 1)],
)
def test_budgets_round_to_the_nearest_and_halves_up(fraction, num_examples, expected):
    assert budget(fraction, num_examples) == expected
