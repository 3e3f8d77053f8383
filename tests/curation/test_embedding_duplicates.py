import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import directions as directions_module
from curation.scorers.embedding_duplicates import EmbeddingDuplicates
from storage.index import ExampleIndex
from storage.values import Signals


def signals_of(embedding: np.ndarray) -> Signals:
    index = ExampleIndex(f"world:{number}" for number in range(len(embedding)))
    return Signals(index=index, arrays={"embedding": np.asarray(embedding)})


def turned(*degrees: float) -> np.ndarray:
    """Points of the unit circle."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def families(num_families: int, size: int, *, spread: float = 0.25, seed: int = 0) -> np.ndarray:
    """Embeddings in families around common ancestors, of all lengths, in random order."""
    rng = np.random.default_rng(seed)
    ancestors = np.repeat(rng.normal(size=(num_families, 12)), size, axis=0)
    found = ancestors + spread * rng.uniform(size=(len(ancestors), 1)) * rng.normal(size=ancestors.shape)
    found *= rng.uniform(0.1, 9, size=(len(found), 1))
    return found[rng.permutation(len(found))].astype(np.float32)


def keepers_by_hand(embedding: np.ndarray, threshold: float) -> list[str]:
    keepers = list(range(len(embedding)))
    exact = embedding.astype(np.float64)
    alike = []
    for second in range(len(exact)):
        for first in range(second):
            lengths = np.linalg.norm(exact[first]) * np.linalg.norm(exact[second])
            if lengths > 0 and exact[first] @ exact[second] / lengths >= threshold - 1e-9:
                alike.append((first, second))
    for _ in range(len(exact)):
        for first, second in alike:
            keepers[first] = keepers[second] = min(keepers[first], keepers[second])
    return [f"world:{row}" for row in keepers]


def test_a_chain_of_angles_is_one_cluster_whose_first_row_stays():
    # cos 15 = 0.9659, cos 30 = 0.8660: rows 0 and 2 are linked by row 1 alone. Lengths do not count.
    points = turned(0, 15, 30, 90) * np.array([[1], [5], [0.1], [2]])
    scores = EmbeddingDuplicates(threshold=0.96)(signals_of(points))
    assert scores.values.tolist() == [0, 1, 1, 0]
    assert scores.columns["keeper"].tolist() == ["world:0", "world:0", "world:0", "world:3"]
    np.testing.assert_allclose(scores.columns["similarity"], [1, np.cos(np.pi / 12), np.sqrt(0.75), 1], rtol=1e-12)
    assert EmbeddingDuplicates(threshold=0.97)(signals_of(points)).values.tolist() == [0, 0, 0, 0]


def test_a_cosine_that_equals_the_threshold_links_and_copies_of_any_length_have_cosine_one():
    # (3, 4) / 5 and (1, 0) have cosine 0.6; (9, 12) points as (3, 4), (-1, 0) the other way.
    points = np.array([[1.0, 0], [3, 4], [9, 12], [-1, 0]])
    assert EmbeddingDuplicates(threshold=0.6)(signals_of(points)).values.tolist() == [0, 1, 1, 0]
    strict = EmbeddingDuplicates(threshold=1.0)(signals_of(points[[1, 2, 0, 3]]))
    assert strict.columns["keeper"].tolist() == ["world:0", "world:0", "world:2", "world:3"]


def test_rows_of_zeros_are_like_no_other():
    scores = EmbeddingDuplicates(threshold=0.1)(signals_of(np.array([[0.0, 0], [1, 0], [0, 0], [2, 0]])))
    assert scores.values.tolist() == [0, 0, 0, 1]
    assert scores.columns["similarity"].tolist() == [1, 1, 1, 1]


def test_huge_and_tiny_numbers_have_directions_too():
    points = np.array([[1e300, 0], [1e-300, 0], [0, 1e300], [1e-300, 1e-300]])
    assert EmbeddingDuplicates()(signals_of(points)).values.tolist() == [0, 1, 0, 0]


def test_a_new_row_that_links_two_clusters_changes_the_later_keeper():
    rows, scorer = signals_of(turned(0, 30, 15)), EmbeddingDuplicates(threshold=0.96, alarm_share=1.0)
    before = scorer.start(rows.take(np.array([0, 1])))
    assert before.new.values.tolist() == [0, 0]
    merge = scorer.extend(before.state, before.new, rows.take(np.array([2])))
    assert merge.changed is not None
    assert list(merge.changed.index) == ["world:1"]
    assert merge.changed.columns["keeper"].tolist() == ["world:0"]
    assert merge.over(before.new).values.tolist() == [0, 1, 1]


@pytest.mark.parametrize("threshold", [0.8, 0.95, 0.99])
def test_clusters_are_those_of_comparing_every_pair(threshold):
    embedding = families(15, 5)
    embedding[[7, 30]] = 0
    scores = EmbeddingDuplicates(threshold=threshold, alarm_share=1.0)(signals_of(embedding))
    assert scores.columns["keeper"].tolist() == keepers_by_hand(embedding, threshold)
    assert 0 < scores.values.sum() < 75


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=14),
    st.sampled_from([0.5, 0.8, 1.0]),
    st.integers(0, 14),
)
def test_small_whole_numbers_are_clustered_as_by_hand_however_they_are_cut(points, threshold, cut):
    embedding = np.array(points, dtype=np.float32)
    rows, scorer = signals_of(embedding), EmbeddingDuplicates(threshold=threshold, alarm_share=1.0)
    merge = scorer.start(rows.take(np.arange(min(cut, len(points)))))
    merged = scorer.extend(merge.state, merge.new, rows.take(np.arange(min(cut, len(points)), len(points))))
    assert merged.over(merge.new).columns["keeper"].tolist() == keepers_by_hand(embedding, threshold)


def test_small_blocks_change_no_bit(monkeypatch):
    rows, scorer = signals_of(families(8, 6, seed=1)), EmbeddingDuplicates(alarm_share=1.0)
    whole = scorer(rows)
    for name, size in (("QUERIES_AT_ONCE", 5), ("POINTS_AT_ONCE", 7), ("PAIRS_AT_ONCE", 3)):
        monkeypatch.setattr(directions_module, name, size)
    cut = scorer(rows)
    assert cut.columns["keeper"].tolist() == whole.columns["keeper"].tolist()
    np.testing.assert_array_equal(cut.columns["similarity"], whole.columns["similarity"])


def test_the_approximate_search_finds_planted_pairs_and_batches_change_nothing():
    rng = np.random.default_rng(2)
    embedding = rng.normal(size=(400, 24))
    embedding[300:] = 3 * embedding[:100] + 0.01 * rng.normal(size=(100, 24))
    embedding[5] = 0
    rows, scorer = signals_of(embedding), EmbeddingDuplicates(search="approximate")
    found = scorer(rows)
    expected = [row for row in range(300, 400) if row != 305]
    assert np.flatnonzero(found.values).tolist() == expected
    assert found.columns["keeper"][300:305].tolist() == [f"world:{row}" for row in range(5)]
    before = scorer.start(rows.take(np.arange(350)))
    merged = scorer.extend(before.state, before.new, rows.take(np.arange(350, 400))).over(before.new)
    assert merged.columns["keeper"].tolist() == found.columns["keeper"].tolist()
    few = scorer(rows.take(np.array([5, 1, 301, 2])))
    assert few.values.tolist() == [0, 0, 1, 0]
    assert scorer(rows.take(np.array([5, 1]))).values.tolist() == [0, 0]


def test_an_implausible_share_and_other_embeddings_are_refused():
    same = signals_of(np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"4 of 5 examples \(80.0%\) .*; look at the embedding, or raise the thresh"):
        EmbeddingDuplicates()(same)
    scorer = EmbeddingDuplicates(alarm_share=1.0)
    before = scorer.start(same)
    wider = Signals(index=ExampleIndex(["other:1"]), arrays={"embedding": np.ones((1, 4))})
    with pytest.raises(ValueError, match="'embedding' has 4 dimensions, but earlier rows have 3"):
        scorer.extend(before.state, before.new, wider)
    for setting, message in (
        ({"threshold": 0}, r"threshold must be in \(0, 1\], got 0"),
        ({"threshold": 1.01}, r"threshold must be in \(0, 1\], got 1.01"),
        ({"alarm_share": 0}, r"alarm_share must be in \(0, 1\], got 0"),
        ({"search": "fast"}, "search must be one of auto, exact, approximate, got 'fast'"),
    ):
        with pytest.raises(ValueError, match=message):
            EmbeddingDuplicates(**setting)
