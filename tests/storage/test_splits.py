import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import SPLITS
from storage.splits import SplitFractions, drawn_splits, row_hashes, spelled_splits, words

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mixed(state):
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def test_fractions_must_be_shares_that_add_up_to_one():
    with pytest.raises(ValueError, match=r"train must be in \[0, 1\], got 1.2"):
        SplitFractions(train=1.2, validation=-0.2, test=0)
    with pytest.raises(ValueError, match=r"must add up to 1, got 0\.9"):
        SplitFractions(train=0.7, validation=0.1, test=0.1)
    SplitFractions(train=0.7, validation=0.2, test=0.1)


@given(st.lists(st.tuples(st.floats(allow_nan=False), st.integers(-(2**40), 2**40)), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_row_hashes_equal_the_recurrence_in_whole_numbers(rows):
    numbers = pl.Series([a for a, _ in rows], dtype=pl.Float64)
    whole = pl.Series([b for _, b in rows], dtype=pl.Int64)
    expected = []
    for a, b in rows:
        state = GOLDEN
        for value in (a, b):
            bits = int(np.array(float(value) + 0.0).view(np.uint64))
            state = ((state ^ bits) * GOLDEN) & MASK
            state ^= state >> 32
        expected.append(mixed(state))
    assert row_hashes([words(numbers), words(whole)], len(rows)).tolist() == expected


def test_the_hash_of_a_row_is_pinned_so_that_splits_outlive_releases():
    columns = [
        words(pl.Series([1.0, 2.0])),
        words(pl.Series(["red", ""])),
        words(pl.Series([[1, 2, 3], [0, 0, 255]], dtype=pl.Array(pl.UInt8, 3))),
    ]
    expected = []
    for bits, text, pixels in ((0x3FF0000000000000, b"red", 0x030201), (0x4000000000000000, b"", 0xFF0000)):
        state = GOLDEN
        for word in (bits, int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"), pixels):
            state = ((state ^ word) * GOLDEN) & MASK
            state ^= state >> 32
        expected.append(mixed(state))
    assert expected == [16937655271238779486, 7633180155006688906]
    assert row_hashes(columns, 2).tolist() == expected


def test_numbers_hash_alike_whatever_their_width_or_the_sign_of_zero():
    assert words(pl.Series([0.0, 2.0])).tolist() == words(pl.Series([-0.0, 2.0])).tolist()
    assert words(pl.Series([0, 2], dtype=pl.UInt8)).tolist() == words(pl.Series([0.0, 2.0], dtype=pl.Float32)).tolist()


@given(
    values=st.lists(st.tuples(st.floats(-10, 10), st.text(max_size=3)), min_size=1, max_size=20),
    cut=st.integers(0, 20),
)
@settings(max_examples=30, deadline=None)
def test_splits_depend_on_a_row_alone(values, cut):
    def splits(rows):
        columns = [words(pl.Series([a for a, _ in rows], dtype=pl.Float64))]
        columns.append(words(pl.Series([b for _, b in rows], dtype=pl.String)))
        return drawn_splits(row_hashes(columns, len(rows)), SplitFractions(), 3).to_list()

    assert splits(values[:cut]) + splits(values[cut:]) == splits(values)


def test_realised_shares_are_near_the_fractions_and_another_seed_draws_others():
    fractions = SplitFractions(train=0.5, validation=0.2, test=0.3)
    hashes = row_hashes([words(pl.Series(np.arange(100_000)))], 100_000)
    drawn = drawn_splits(hashes, fractions, 0)
    for split in SPLITS:  # five standard deviations of a share of 100,000 rows are below 0.008
        assert abs((drawn == split).mean() - getattr(fractions, split)) < 0.008
    same = (drawn == drawn_splits(hashes, fractions, 1)).mean()
    assert abs(same - (0.25 + 0.04 + 0.09)) < 0.01  # what independent draws agree on


def test_a_share_of_zero_gets_no_row():
    hashes = np.concatenate([row_hashes([words(pl.Series(np.arange(1000)))], 1000), [np.uint64(0), np.uint64(MASK)]])
    for seed in range(5):
        assert set(drawn_splits(hashes, SplitFractions(train=1, validation=0, test=0), seed)) == {"train"}
        assert set(drawn_splits(hashes, SplitFractions(train=0, validation=0.5, test=0.5), seed)) == {
            "validation",
            "test",
        }
        assert set(drawn_splits(hashes, SplitFractions(train=0.5, validation=0.5, test=0), seed)) == {
            "train",
            "validation",
        }
        assert set(drawn_splits(hashes, SplitFractions(train=0.5, validation=0, test=0.5), seed)) == {"train", "test"}


def test_split_words_are_understood_in_any_case_and_others_are_null():
    column = pl.Series(["train", "VAL", " dev ", "Valid", "validation", "test", "holdout", None])
    assert spelled_splits(column).to_list() == ["train", *["validation"] * 4, "test", None, None]
