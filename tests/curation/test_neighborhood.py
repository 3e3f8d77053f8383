import numpy as np
import pytest

from curation import neighborhood
from curation.neighborhood import started
from curation.neighbors import neighbors
from curation.ranks import id_ranks
from curation.scorers.knn_disagreement import KNNDisagreement
from curation.scorers.knn_distance import KNNDistance
from storage.index import ExampleIndex
from storage.values import Signals


@pytest.fixture
def searches(monkeypatch):
    """How many neighbours each exact search was for."""
    monkeypatch.setattr(neighborhood, "_last", {})
    counted: list[int] = []

    def counting(points, num_neighbors, ranks):
        counted.append(num_neighbors)
        return neighbors(points, num_neighbors, ranks)

    monkeypatch.setattr(neighborhood, "neighbors", counting)
    return counted


def index_of(size: int, prefix: str = "world") -> ExampleIndex:
    return ExampleIndex(f"{prefix}:{number:03}" for number in range(size))


def test_scorers_on_the_same_embedding_share_one_search(searches):
    rng = np.random.default_rng(0)
    arrays = {"embedding": rng.normal(size=(30, 3)), "label": rng.integers(2, size=30)}
    signals = Signals(index=index_of(30), arrays=arrays)
    merges = [scorer(num_neighbors=4).start(signals) for scorer in (KNNDistance, KNNDisagreement)]
    assert searches == [4]
    own = neighbors(arrays["embedding"], 4, id_ranks(signals.index.ids))
    for merge in merges:
        np.testing.assert_array_equal(merge.state["neighbors.0"], own.rows)
        np.testing.assert_array_equal(merge.state["distances.0"], own.squared_distances)


def test_fewer_neighbours_are_the_first_of_more_and_more_are_searched_for(searches):
    # Twins, so that ids break ties.
    points = np.repeat(np.random.default_rng(1).normal(size=(10, 2)), 3, axis=0)
    index = index_of(30)
    started(index, [points], 5, "exact")
    (fewer,), _ = started(index, [points], 2, "exact")
    assert searches == [5]
    own = neighbors(points, 2, id_ranks(index.ids))
    np.testing.assert_array_equal(fewer.rows, own.rows)
    np.testing.assert_array_equal(fewer.squared_distances, own.squared_distances)
    started(index, [points], 6, "exact")
    assert searches == [5, 6]


def test_other_points_or_other_ids_are_searched_anew(searches):
    points = np.random.default_rng(2).normal(size=(20, 2))
    started(index_of(20), [points], 3, "exact")
    started(index_of(20), [points + 1e-12], 3, "exact")
    reordered = ExampleIndex(reversed([f"world:{number:03}" for number in range(20)]))
    started(reordered, [points + 1e-12], 3, "exact")
    assert searches == [3, 3, 3]


def test_what_a_scorer_does_to_its_lists_stays_with_it(searches):
    points = np.random.default_rng(3).normal(size=(20, 2))
    (first,), _ = started(index_of(20), [points], 3, "exact")
    before = first.rows.copy()
    first.rows[:] = -1
    (again,), _ = started(index_of(20), [points], 3, "exact")
    np.testing.assert_array_equal(again.rows, before)
    assert searches == [3]
