import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.scorers.exact_duplicates import ExactDuplicates, first_with_same, known_with_same
from storage.index import ExampleIndex
from storage.values import Signals


def signals_of(hashes: list[list[int]], first: int = 0) -> Signals:
    index = ExampleIndex(f"world:{first + number}" for number in range(len(hashes)))
    return Signals(index=index, arrays={"content_hash": np.array(hashes, dtype=np.uint64).reshape(-1, 2)})


def test_the_first_row_stays_and_names_the_others_keeper():
    scores = ExactDuplicates()(signals_of([[1, 2], [2, 1], [1, 2], [1, 3], [2, 1], [1, 2]]))
    assert scores.values.tolist() == [0, 0, 1, 0, 1, 1]
    assert scores.columns["keeper"].tolist() == ["world:0", "world:1", "world:0", "world:3", "world:1", "world:0"]


def test_new_rows_are_compared_with_old_ones_and_change_none():
    scorer = ExactDuplicates()
    before = scorer.start(signals_of([[1, 1], [2, 2], [1, 1]]))
    merge = scorer.extend(before.state, before.new, signals_of([[3, 3], [2, 2], [3, 3]], first=3))
    assert merge.changed is None
    assert merge.new.values.tolist() == [0, 1, 1]
    assert merge.new.columns["keeper"].tolist() == ["world:3", "world:1", "world:3"]
    assert merge.state["content_hash"].tolist() == [[1, 1], [2, 2], [3, 3]]
    assert merge.state["keeper"].tolist() == [0, 1, 3]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_first_with_the_same_hash_is_what_a_dictionary_finds(hashes):
    seen: dict[tuple[int, int], int] = {}
    expected = [seen.setdefault(one, row) for row, one in enumerate(hashes)]
    array = np.array(hashes, dtype=np.uint64)
    assert first_with_same(array).tolist() == expected
    known = np.unique(array[: len(hashes) // 2], axis=0)
    places = {tuple(one): row for row, one in enumerate(known.tolist())}
    assert known_with_same(array, known).tolist() == [places.get(one, -1) for one in hashes]


def test_planted_copies_are_found_exactly():
    rng = np.random.default_rng(0)
    hashes = rng.integers(2**63, size=(1000, 2)).astype(np.uint64)
    copies = np.sort(rng.permutation(np.arange(500, 1000))[:100])
    hashes[copies] = hashes[rng.integers(500, size=100)]
    scores = ExactDuplicates()(signals_of(hashes.tolist()))
    assert np.flatnonzero(scores.values).tolist() == copies.tolist()


def test_an_implausible_share_raises_also_when_rows_are_added():
    with pytest.raises(ValueError, match=r"2 of 3 examples \(66.7%\) .*look at what 'content_hash' was computed from"):
        ExactDuplicates()(signals_of([[1, 1]] * 3))
    scorer = ExactDuplicates(alarm_share=0.3)
    before = scorer.start(signals_of([[1, 1], [2, 2], [3, 3]]))
    with pytest.raises(ValueError, match=r"2 of 5 examples \(40.0%\)"):
        scorer.extend(before.state, before.new, signals_of([[1, 1], [2, 2]], first=3))


def test_a_signal_of_another_shape_or_type_is_refused():
    index = ExampleIndex(["world:0"])
    for wrong in (np.zeros((1, 2)), np.zeros((1, 3), dtype=np.uint64)):
        with pytest.raises(ValueError, match=r"'content_hash' must be \(N, 2\) of uint64"):
            ExactDuplicates()(Signals(index=index, arrays={"content_hash": wrong}))


def test_no_rows_have_no_duplicates():
    assert len(ExactDuplicates()(signals_of([]))) == 0
