import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from curation import nearest_rows
from curation.neighbors import Neighbors, embedding_of, extended, neighbors
from storage.index import ExampleIndex
from storage.values import Signals


def by_hand(points: np.ndarray, num_neighbors: int, ranks: np.ndarray) -> tuple[list[list[int]], list[list[float]]]:
    rows, distances = [], []
    for row, point in enumerate(points.astype(np.float64)):
        gaps = [(float(((point - other) ** 2).sum()), int(ranks[place]), place) for place, other in enumerate(points)]
        nearest = sorted(gap for gap in gaps if gap[2] != row)[:num_neighbors]
        rows.append([place for _, _, place in nearest])
        distances.append([distance for distance, _, _ in nearest])
    return rows, distances


def assert_same(one: Neighbors, other: Neighbors) -> None:
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.squared_distances, other.squared_distances)


def test_neighbours_on_a_line_by_hand():
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    found = neighbors(points, 2, np.arange(4))
    assert found.rows.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert found.squared_distances.tolist() == [[1, 9], [1, 4], [4, 9], [16, 36]]


def test_of_equally_near_ones_the_smaller_id_comes_first():
    points = np.array([[0.0], [1.0], [-1.0], [1.0]])
    assert neighbors(points, 2, np.arange(4)).rows[0].tolist() == [1, 2]
    assert neighbors(points, 2, np.array([0, 3, 2, 1])).rows[0].tolist() == [3, 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(7, 40), st.booleans())
def test_blocks_and_merges_agree_with_a_loop_over_all_pairs(seed, num_neighbors, num_old, crowded):
    rng = np.random.default_rng(seed)
    size = 50
    # Whole numbers are many ties, and large ones beside small gaps leave the matrix product little precision.
    points = rng.integers(3, size=(size, 2)) + 0.0 if crowded else 1e4 + rng.normal(size=(size, 3))
    points = points.astype(np.float32)
    ranks = rng.permutation(size)
    old_ranks = np.argsort(np.argsort(ranks[:num_old]))
    whole = neighbors(points, num_neighbors, ranks)
    rows, distances = by_hand(points, num_neighbors, ranks)
    assert whole.rows.tolist() == rows
    np.testing.assert_allclose(whole.squared_distances, distances, rtol=1e-14)
    known = neighbors(points[:num_old], num_neighbors, old_ranks)
    assert_same(extended(known, points, ranks), whole)


def test_neighbours_are_those_of_scikit_learn():
    points = np.random.default_rng(1).normal(size=(700, 20))
    peer = NearestNeighbors(n_neighbors=8, algorithm="kd_tree").fit(points)
    distances, rows = peer.kneighbors()
    found = neighbors(points, 8, np.arange(700))
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(np.sqrt(found.squared_distances), distances, rtol=1e-12)


def test_the_sizes_of_blocks_change_no_bit(monkeypatch):
    points = np.random.default_rng(2).normal(size=(60, 7)).astype(np.float32)
    points[30:35] = points[:5]
    whole = neighbors(points, 4, np.arange(60))
    known = neighbors(points[:40], 4, np.arange(40))
    for block, part, pairs in ((1, 60, 1000), (7, 11, 5), (60, 3, 2)):
        monkeypatch.setattr(nearest_rows, "ROWS_AT_ONCE", block)
        monkeypatch.setattr(nearest_rows, "PART_ROWS", part)
        monkeypatch.setattr(nearest_rows, "PAIRS_AT_ONCE", pairs)
        assert_same(neighbors(points, 4, np.arange(60)), whole)
        assert_same(extended(known, points, np.arange(60)), whole)


def test_too_few_points_and_other_embeddings_are_refused():
    with pytest.raises(ValueError, match="3 neighbours need more than 3 examples, got 3; ask for fewer"):
        neighbors(np.zeros((3, 2)), 3, np.arange(3))
    index = ExampleIndex(["world:0"])
    for wrong in (np.zeros(1), np.zeros((1, 2), dtype=np.int64)):
        with pytest.raises(ValueError, match=r"'embedding' must be \(N, D\) of floating point, got"):
            embedding_of(Signals(index=index, arrays={"embedding": wrong}))


def test_no_further_points_leave_the_lists_as_they_are():
    points = np.random.default_rng(3).normal(size=(30, 4))
    known = neighbors(points, 3, np.arange(30))
    assert_same(extended(known, points, np.arange(30)), known)
