import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.clusters import check_alarm_share, check_plausible, united


def by_flooding(size: int, pairs: list[tuple[int, int]]) -> list[int]:
    keepers = list(range(size))
    for _ in range(size):
        for first, second in pairs:
            keepers[first] = keepers[second] = min(keepers[first], keepers[second])
    return keepers


def test_pairs_unite_clusters_under_their_first_row():
    keepers = united(np.arange(6), np.array([1, 4]), np.array([3, 5]))
    assert keepers.tolist() == [0, 1, 2, 1, 4, 4]
    # A link from row 5 to row 3 makes one cluster of 1, 3, 4 and 5.
    assert united(keepers, np.array([5]), np.array([3])).tolist() == [0, 1, 2, 1, 1, 1]
    assert united(keepers, np.array([], dtype=int), np.array([], dtype=int)).tolist() == keepers.tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=20), st.integers(0, 20))
def test_clusters_are_the_connected_parts_however_the_pairs_are_cut(pairs, cut):
    keepers = np.arange(15)
    for part in (pairs[:cut], pairs[cut:]):
        ends = np.array(part, dtype=np.int64).reshape(-1, 2)
        keepers = united(keepers, ends[:, 0], ends[:, 1])
    assert keepers.tolist() == by_flooding(15, pairs)


def test_an_implausible_share_is_an_error_that_says_what_to_do():
    check_plausible(5, 10, 0.5, "look")
    with pytest.raises(ValueError, match=r"6 of 10 examples \(60.0%\) .* alarm_share = 50.0% allows; look, or raise"):
        check_plausible(6, 10, 0.5, "look")
    for share in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"alarm_share must be in \(0, 1\]"):
            check_alarm_share(share)
