import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.checks.leakage import (
    MIN_COLUMNS,
    alike_numbers,
    alike_texts,
    parent_pairs,
    same_content,
    usual_distance,
)
from curation.examiners.minhash import MinHash
from curation.scorers.near_duplicates import NearDuplicates
from storage.index import ExampleIndex

BANDS = NearDuplicates().bands(128)


def signed(texts: list[str]) -> np.ndarray:
    index = ExampleIndex(map(str, range(len(texts))))
    return MinHash(column="t", size=1)(index, {"t": np.array(texts, dtype=object)})["minhash"]


def test_equal_contents_are_paired_with_the_first_training_row_that_has_them():
    found = same_content(np.array([7, 3, 7, 5]), np.array([5, 9, 7, 1, 7]))
    assert found.other.tolist() == [0, 2, 4]
    assert found.training.tolist() == [3, 0, 0]
    assert found.similarity.tolist() == [1, 1, 1]
    assert len(same_content(np.array([1]), np.zeros(0, dtype=np.int64))) == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_equal_contents_agree_with_looking_at_every_pair(training, other):
    found = same_content(np.array(training), np.array(other, dtype=np.int64))
    expected = [(training.index(one), place) for place, one in enumerate(other) if one in training]
    assert list(zip(found.training.tolist(), found.other.tolist(), strict=True)) == expected


def test_texts_that_share_most_words_are_paired_with_the_most_alike():
    words = [f"w{number}" for number in range(40)]
    training = [" ".join(words), " ".join([*words[:38], "x", "y"]), "nothing like it at all"]
    other = ["quite another text", " ".join([*words[:39], "z"]), " ".join(words[:38])]
    found = alike_texts(signed(training), signed(other), BANDS, 0.8)
    # 39 of 41 words shared with the first, 38 of 42 with the second; then 38 of 40 with either: the first is named.
    assert found.other.tolist() == [1, 2]
    assert found.training[0] == 0
    assert found.similarity[0] == pytest.approx(39 / 41, abs=0.08)
    assert found.similarity[1] == pytest.approx(38 / 40, abs=0.08)


def test_texts_agree_with_comparing_all_signatures():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in rng.choice(25, 20, replace=False)) for _ in range(120)]
    training, other = signed(texts[:80]), signed(texts[80:])
    threshold = 0.75
    found = alike_texts(training, other, NearDuplicates(threshold=threshold).bands(128), threshold)
    shares = (training[None] == other[:, None]).mean(axis=2)
    expected = np.flatnonzero(shares.max(axis=1) >= threshold)
    # Bands may miss a pair at the threshold; none may be invented, and nearly all must be found.
    assert set(found.other) <= set(expected)
    assert len(found) >= 0.9 * len(expected) > 5
    np.testing.assert_allclose(found.similarity, shares[found.other, found.training])


def test_numbers_much_nearer_than_neighbours_usually_are_leak():
    rng = np.random.default_rng(1)
    training = rng.normal(size=(200, 12))
    usual = usual_distance(training)
    apart = rng.normal(size=12)
    moved = training[17] + 0.1 * usual * apart / np.linalg.norm(apart)
    other = np.stack([rng.normal(size=12), moved, training[5]])
    found = alike_numbers(training, other, 0.8)
    assert found.other.tolist() == [1, 2]
    assert found.training.tolist() == [17, 5]
    assert found.similarity == pytest.approx([0.9, 1.0])
    assert len(alike_numbers(training, other[:1], 0.8)) == 0
    assert len(alike_numbers(training, other[:0], 0.8)) == 0


def test_the_usual_distance_is_the_median_over_nearest_others():
    rows = np.random.default_rng(2).normal(size=(50, 9))
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert usual_distance(rows) == pytest.approx(np.median(apart.min(axis=1)))


def test_rows_that_mostly_have_twins_show_no_near_ones():
    rows = np.tile(np.random.default_rng(3).normal(size=(10, 9)), (3, 1))
    assert len(alike_numbers(rows, rows[:4], 0.8)) == 0


def test_few_numbers_say_nothing():
    with pytest.raises(ValueError, match=f"at least {MIN_COLUMNS} numbers a row, got 2"):
        alike_numbers(np.zeros((5, 2)), np.zeros((5, 2)), 0.8)


def test_synthetic_rows_are_named_by_parents_of_the_other_split_and_by_their_twins_there():
    # s1 comes of a test row, s2 of a training row with the content of the test row t2, s3 of neither.
    parents = {"row": ["s2", "s1", "s1", "s3"], "parent": ["a2", "a2", "t1", "a3"], "content": [2, 2, 1, 3]}
    other = pl.DataFrame({"other": ["t0", "t1", "t2", "t3"], "content": [1, 1, 2, 4]})
    found = parent_pairs(pl.DataFrame(parents), other)
    assert found.rows() == [("s1", "t1", "t1"), ("s2", "t2", "a2")]
