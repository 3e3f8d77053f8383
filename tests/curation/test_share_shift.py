from itertools import pairwise
from math import comb, log

import numpy as np
import pytest
from scipy.stats import chi2

from curation.checks.share_shift import holm_adjusted, share_shift
from learners.significance import holm_adjusted as holm_of_learners


def test_three_classes_worked_out_by_hand():
    # Pool 4, 4, 2; kept 3, 1, 1.
    positions = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    kept = np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 0], dtype=bool)
    found = share_shift(positions, ["a", "b", "c"], kept)
    assert [(one.name, one.pool, one.kept) for one in found.parts] == [("a", 4, 3), ("b", 4, 1), ("c", 2, 1)]
    assert [one.pool_share for one in found.parts] == [0.4, 0.4, 0.2]
    assert [one.kept_share for one in found.parts] == [0.6, 0.2, 0.2]
    assert [one.shift for one in found.parts] == pytest.approx([0.2, -0.2, 0.0])
    # Of the 252 ways to keep 5 of 10, those keep 0 to 4 of class a: 6, 60, 120, 60, 6. As unlikely as 3, or more: 132;
    # three times that, after Holm, is above 252.
    assert [one.p_value for one in found.parts] == [1.0, 1.0, 1.0]
    # G = 2 sum O ln(O / E) with E = 2, 2, 1 on both sides.
    g = 2 * (3 * log(3 / 2) + log(1 / 2) + log(1 / 2) + 3 * log(3 / 2))
    assert found.p_value == pytest.approx(chi2.sf(g, 2))


def test_a_part_that_lost_more_than_chance_stands_first_with_a_small_p():
    positions = np.repeat(np.arange(4), 50)
    kept = np.tile(np.arange(50) < 25, 4)
    kept[150:] = False
    found = share_shift(positions, ["a", "b", "c", "d"], kept)
    assert found.parts[0].name == "d"
    # All ways to keep 75 of 200 that keep none of these 50; the other tail, 50 of 50, is far less likely.
    below = comb(150, 75) / comb(200, 75)
    assert found.parts[0].p_value == pytest.approx(4 * below, rel=0.2)
    assert found.p_value < 1e-9


def test_nothing_is_tested_where_nothing_could_shift():
    positions = np.array([0, 0, 1, 1])
    assert share_shift(positions, ["a", "b"], np.ones(4, dtype=bool)).p_value is None
    nothing = share_shift(positions, ["a", "b"], np.zeros(4, dtype=bool))
    assert nothing.p_value is None
    assert [one.kept_share for one in nothing.parts] == [0, 0]
    assert share_shift(np.zeros(4, dtype=np.int64), ["a"], np.arange(4) < 2).p_value is None


def test_parts_that_do_not_occur_and_rows_of_no_part_are_left_out():
    found = share_shift(np.array([2, 2, -1, 0]), ["a", "b", "c"], np.array([True, False, True, True]))
    assert {one.name: (one.pool, one.kept) for one in found.parts} == {"a": (1, 1), "c": (2, 1)}


def test_the_order_is_by_shift_and_then_by_name():
    rng = np.random.default_rng(0)
    found = share_shift(rng.integers(6, size=300), list("abcdef"), rng.random(300) < 0.4)
    assert all(abs(one.shift) >= abs(other.shift) for one, other in pairwise(found.parts))


def test_holm_by_hand_and_as_the_learners_do():
    # 3 * 0.01, then 2 * 0.02, then the larger of 0.03 and what came before.
    assert holm_adjusted([0.02, 0.01, 0.03]).tolist() == pytest.approx([0.04, 0.03, 0.04])
    values = np.random.default_rng(0).random(20) ** 3
    np.testing.assert_array_equal(holm_adjusted(values), holm_of_learners(values))
