import sys

import numpy as np
import pytest

from curation import neighbor_graph
from curation.neighbor_graph import approximate_neighbors
from curation.neighbors import neighbors
from curation.scorers.knn_distance import KNNDistance
from storage.index import ExampleIndex
from storage.values import Signals


def clouds(num_points: int, num_dimensions: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(20, num_dimensions))
    points = centers[rng.integers(20, size=num_points)] + 0.5 * rng.normal(size=(num_points, num_dimensions))
    return points.astype(np.float32)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, exact, strict=True)]))


def test_the_graph_finds_nearly_all_neighbours_and_measures_them_exactly():
    points, ranks = clouds(3000), np.arange(3000)
    exact = neighbors(points, 10, ranks)
    found = approximate_neighbors(points, 10, ranks)
    assert recall(found.rows, exact.rows) > 0.97
    same = (found.rows == exact.rows).all(axis=1)
    np.testing.assert_array_equal(found.squared_distances[same], exact.squared_distances[same])
    assert (found.squared_distances >= exact.squared_distances).all()
    assert (found.rows != np.arange(3000)[:, None]).all()


def test_the_same_points_in_the_same_order_give_the_same_lists():
    points, ranks = clouds(800, seed=2), np.arange(800)
    one, other = (approximate_neighbors(points, 5, ranks) for _ in range(2))
    np.testing.assert_array_equal(one.rows, other.rows)


def test_small_blocks_of_queries_change_nothing(monkeypatch):
    points, ranks = clouds(40, seed=5), np.arange(40)
    whole = approximate_neighbors(points, 3, ranks)
    monkeypatch.setattr(neighbor_graph, "QUERIES_AT_ONCE", 13)
    np.testing.assert_array_equal(approximate_neighbors(points, 3, ranks).rows, whole.rows)


def test_few_points_are_searched_whole():
    points, ranks = clouds(9, seed=3), np.arange(9)
    np.testing.assert_array_equal(approximate_neighbors(points, 4, ranks).rows, neighbors(points, 4, ranks).rows)


def test_a_scorer_that_searches_approximately_is_near_the_exact_one_and_batches_change_no_bit():
    index = ExampleIndex(f"world:{row:04}" for row in range(600))
    rows = Signals(index=index, arrays={"embedding": clouds(600, seed=4)})
    scorer = KNNDistance(search="approximate")
    before = scorer.start(rows.take(np.arange(500)))
    merged = scorer.extend(before.state, before.new, rows.take(np.arange(500, 600))).over(before.new)
    np.testing.assert_array_equal(merged.values, scorer(rows).values)
    assert np.corrcoef(merged.values, KNNDistance()(rows).values)[0, 1] > 0.99
    with pytest.raises(ValueError, match="search must be one of exact, approximate, got 'fast'"):
        KNNDistance(search="fast")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ImportError, match=r"needs usearch: pip install 'tamis\[neighbors\]'"):
        approximate_neighbors(clouds(20), 3, np.arange(20))
