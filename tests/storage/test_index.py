import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.index import ExampleIndex

distinct_ids = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True)


def test_positions_follow_the_order_of_the_ids():
    index = ExampleIndex(["d:b", "d:a", "d:c"])
    assert index.positions(["d:c", "d:b", "d:c"]).tolist() == [2, 0, 2]
    assert index[1] == "d:a"
    assert "d:c" in index
    assert "d:x" not in index


@settings(deadline=None, max_examples=40)
@given(distinct_ids)
def test_positions_of_all_ids_count_up(ids):
    index = ExampleIndex(ids)
    assert index.positions(ids).tolist() == list(range(len(ids)))
    assert list(index) == ids


def test_repeated_and_null_ids_are_refused():
    with pytest.raises(ValueError, match=r"'d:a' occurs more than once"):
        ExampleIndex(["d:a", "d:b", "d:a"])
    with pytest.raises(ValueError, match=r"1 of 2 example ids are null"):
        ExampleIndex(pl.Series(["d:a", None]))
    with pytest.raises(TypeError, match=r"must be strings, got Int64"):
        ExampleIndex(pl.Series([1, 2]))


def test_an_unknown_id_is_named_with_the_count():
    with pytest.raises(ValueError, match=r"2 of 3 ids are not among these 2 examples \(first: 'd:x'\)"):
        ExampleIndex(["d:a", "d:b"]).positions(["d:x", "d:a", "d:y"])


def test_the_fingerprint_knows_ids_and_their_order():
    first = ExampleIndex(["ab", "c"])
    assert first.fingerprint == ExampleIndex(["ab", "c"]).fingerprint
    assert len({first.fingerprint, ExampleIndex(["a", "bc"]).fingerprint, ExampleIndex(["c", "ab"]).fingerprint}) == 3
    assert first == ExampleIndex(["ab", "c"])
    assert first != ExampleIndex(["c", "ab"])


def test_take_gives_the_ids_at_those_positions():
    assert list(ExampleIndex(["a", "b", "c"]).take(np.array([2, 0]))) == ["c", "a"]
