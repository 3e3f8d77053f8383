import sys
from dataclasses import replace

import numpy as np
import pytest

import curation.neighbors
from curation import neighbor_graph, neighborhood
from curation.neighbor_graph import approximate_neighbors, graph_of
from curation.neighbors import Neighbors, neighbors
from curation.scorers.embedding_duplicates import EmbeddingDuplicates
from curation.scorers.knn_disagreement import KNNDisagreement
from curation.scorers.knn_distance import KNNDistance
from storage.index import ExampleIndex
from storage.values import Signals


def clouds(num_points: int, num_dimensions: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(20, num_dimensions))
    points = centers[rng.integers(20, size=num_points)] + 0.5 * rng.normal(size=(num_points, num_dimensions))
    return points.astype(np.float32)


def searched(points: np.ndarray, num_neighbors: int) -> Neighbors:
    return approximate_neighbors(points, num_neighbors, np.arange(len(points)), graph_of(points))


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, exact, strict=True)]))


def test_the_graph_finds_nearly_all_neighbours_and_measures_them_exactly():
    points, ranks = clouds(3000), np.arange(3000)
    exact = neighbors(points, 10, ranks)
    found = searched(points, 10)
    assert recall(found.rows, exact.rows) > 0.97
    same = (found.rows == exact.rows).all(axis=1)
    np.testing.assert_array_equal(found.squared_distances[same], exact.squared_distances[same])
    assert (found.squared_distances >= exact.squared_distances).all()
    assert (found.rows != np.arange(3000)[:, None]).all()


def test_the_same_points_in_the_same_order_give_the_same_lists():
    points = clouds(800, seed=2)
    one, other = (searched(points, 5) for _ in range(2))
    np.testing.assert_array_equal(one.rows, other.rows)


def test_small_blocks_of_queries_change_nothing(monkeypatch):
    points = clouds(40, seed=5)
    whole = searched(points, 3)
    monkeypatch.setattr(neighbor_graph, "QUERIES_AT_ONCE", 13)
    np.testing.assert_array_equal(searched(points, 3).rows, whole.rows)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(neighbor_graph, "POINTS_OF_A_PART", 64)


@pytest.mark.parametrize("cuts", [[10, 300], [64, 128, 300], [63, 64, 65, 299], [200]])
def test_a_graph_that_was_stored_and_grown_is_that_of_all_points_at_once(small_parts, cuts):
    points = clouds(300, seed=6)
    whole = graph_of(points)
    assert len(whole.stored) > 0
    stored = None
    for cut in [*cuts, 300]:
        grown = graph_of(points[:cut], stored)
        stored = grown.stored
    np.testing.assert_array_equal(grown.stored, whole.stored)
    assert bytes(grown.index.save()) == bytes(whole.index.save())


def test_points_that_are_stored_do_not_enter_again(small_parts, monkeypatch):
    points, entered = clouds(300, seed=7), []
    stored = graph_of(points[:200]).stored
    from usearch.index import Index

    add = Index.add
    monkeypatch.setattr(
        Index, "add", lambda self, keys, *rest, **how: entered.extend(keys) or add(self, keys, *rest, **how)
    )
    graph_of(points, stored)
    assert entered == list(range(192, 300))


@pytest.mark.parametrize(
    "stored",
    [
        np.frombuffer(b"no graph at all" * 20, dtype=np.uint8),
        np.empty(0, dtype=np.uint8),
    ],
)
def test_what_is_no_graph_of_the_first_points_is_left_aside(small_parts, stored):
    points = clouds(100, seed=8)
    np.testing.assert_array_equal(graph_of(points, stored).stored, graph_of(points).stored)


def test_graphs_of_other_widths_or_more_points_are_left_aside(small_parts):
    points = clouds(100, seed=8)
    for other in (clouds(130, num_dimensions=3), clouds(200, seed=9)):
        np.testing.assert_array_equal(graph_of(points, graph_of(other).stored).stored, graph_of(points).stored)


def test_parts_lose_no_neighbours(small_parts):
    points = clouds(2000, seed=10)
    assert recall(searched(points, 10).rows, neighbors(points, 10, np.arange(2000)).rows) > 0.97


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_many_equal_points_hide_no_others(share):
    rng = np.random.default_rng(13)
    points = clouds(4000, seed=13)
    points -= points.mean(axis=0)
    points[rng.random(4000) < share] = 0
    points[rng.random(4000) < share] = points[7]
    ranks = rng.permutation(4000)
    exact = neighbors(points, 10, ranks)
    found = approximate_neighbors(points, 10, ranks, graph_of(points))
    assert (found.squared_distances == exact.squared_distances).all(axis=1).mean() > 0.97
    twins = (points == 0).all(axis=1)
    np.testing.assert_array_equal(found.rows[twins], exact.rows[twins])


def test_empty_texts_in_the_middle_of_unit_vectors_hide_no_others():
    rng = np.random.default_rng(17)
    centers = rng.normal(size=(200, 64))
    points = centers[rng.integers(200, size=6000)] + 0.3 * rng.normal(size=(6000, 64))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[rng.random(6000) < 0.03] = 0
    exact = neighbors(points, 10, np.arange(6000))
    found = approximate_neighbors(points, 10, np.arange(6000), graph_of(points))
    assert (found.squared_distances == exact.squared_distances).all(axis=1).mean() > 0.99


@pytest.mark.parametrize("points", [np.zeros((30, 4)), np.repeat(np.eye(4), 8, axis=0)])
def test_points_that_are_nearly_all_equal_have_full_lists(points):
    ranks = np.random.default_rng(14).permutation(len(points))
    exact, found = neighbors(points, 5, ranks), approximate_neighbors(points, 5, ranks, graph_of(points))
    np.testing.assert_array_equal(found.rows, exact.rows)
    np.testing.assert_array_equal(found.squared_distances, exact.squared_distances)


@pytest.mark.parametrize("scorer", [KNNDistance(search="approximate"), KNNDisagreement(search="approximate")])
def test_graphs_of_several_seeds_grow_each_by_itself(small_parts, scorer):
    points, labels = np.stack([clouds(300, seed=seed) for seed in (15, 16)]), np.arange(300) % 3
    points[:, 250:] = points[:, :50]
    index = ExampleIndex(f"world:{row:04}" for row in range(300))
    arrays = {"embedding": points[:, :, None], "label": labels}
    rows = Signals(index=index, arrays=arrays, epochs={"embedding": (1,)})
    before = scorer.start(rows.take(np.arange(200)))
    after = scorer.extend(before.state, before.new, rows.take(np.arange(200, 300)))
    neighborhood._last.clear()
    whole = scorer.start(rows)
    np.testing.assert_array_equal(after.over(before.new).values, whole.new.values)
    np.testing.assert_array_equal(after.over(before.new).standard_error, whole.new.standard_error)
    for name, array in whole.state.items():
        np.testing.assert_array_equal(after.state[name], array)


def test_few_points_are_searched_whole():
    points, ranks = clouds(9, seed=3), np.arange(9)
    np.testing.assert_array_equal(searched(points, 4).rows, neighbors(points, 4, ranks).rows)


def test_a_scorer_that_searches_approximately_is_near_the_exact_one_and_batches_change_no_bit(small_parts):
    index = ExampleIndex(f"world:{row:04}" for row in range(600))
    rows = Signals(index=index, arrays={"embedding": clouds(600, seed=4)})
    scorer = KNNDistance(search="approximate")
    before = scorer.start(rows.take(np.arange(500)))
    merged = scorer.extend(before.state, before.new, rows.take(np.arange(500, 600))).over(before.new)
    neighborhood._last.clear()
    np.testing.assert_array_equal(merged.values, scorer(rows).values)
    assert np.corrcoef(merged.values, KNNDistance()(rows).values)[0, 1] > 0.99
    with pytest.raises(ValueError, match="search must be one of auto, exact, approximate, got 'fast'"):
        KNNDistance(search="fast")


@pytest.mark.parametrize("scorer", [KNNDistance(), KNNDisagreement(), EmbeddingDuplicates(threshold=0.999)])
def test_auto_goes_from_exact_lists_to_a_graph_where_rows_become_many(small_parts, monkeypatch, scorer):
    monkeypatch.setattr(curation.neighbors, "EXACT_AT_MOST", 150)
    points, labels = clouds(400, seed=11), np.random.default_rng(12).integers(3, size=400)
    points[390:] = points[:10]
    index = ExampleIndex(f"world:{row:04}" for row in range(400))
    rows = Signals(index=index, arrays={"embedding": points, "label": labels})
    merge, scores = None, None
    for first, last in ((0, 100), (100, 150), (150, 300), (300, 400)):
        part = rows.take(np.arange(first, last))
        merge = scorer.start(part) if merge is None else scorer.extend(merge.state, scores, part)
        scores = merge.over(scores)
        assert any(name.startswith("graph") for name in merge.state) == (last > 150)
        if last <= 150:
            exact = replace(scorer, search="exact")(rows.take(np.arange(last)))
            np.testing.assert_array_equal(scores.values, exact.values)
    neighborhood._last.clear()
    np.testing.assert_array_equal(scores.values, replace(scorer, search="approximate")(rows).values)
    assert np.mean(scores.values == replace(scorer, search="exact")(rows).values) > 0.9


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises(
        ImportError, match=r"compares all pairs instead\) needs usearch: pip install 'tamis\[neighbors\]'"
    ):
        searched(clouds(20), 3)
