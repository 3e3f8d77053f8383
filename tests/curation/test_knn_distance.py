import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from curation.scorers.knn_distance import KNNDistance
from storage.index import ExampleIndex
from storage.values import Signals


def signals_of(embedding: np.ndarray) -> Signals:
    index = ExampleIndex(f"world:{number}" for number in range(len(embedding)))
    return Signals(index=index, arrays={"embedding": embedding})


def test_the_mean_distance_by_hand():
    # On a line at 0, 1, 3 and 7: (1 + 3) / 2, (1 + 2) / 2, (2 + 3) / 2, (4 + 6) / 2.
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert KNNDistance(num_neighbors=2)(signals_of(points)).values.tolist() == [2, 1.5, 2.5, 5]


def test_a_new_row_changes_those_to_which_it_is_near():
    points = signals_of(np.array([[0.0], [1.0], [3.0], [7.0], [6.0]]))
    scorer = KNNDistance(num_neighbors=2)
    before = scorer.start(points.take(np.arange(4)))
    merge = scorer.extend(before.state, before.new, points.take(np.array([4])))
    # Row 3, at 7, now has 6 and 3: (1 + 4) / 2. Row 4, at 6, has 7 and 3: (1 + 3) / 2.
    assert merge.changed is not None
    assert dict(zip(merge.changed.index, merge.changed.values.tolist(), strict=True)) == {"world:3": 2.5}
    assert merge.new.values.tolist() == [2]


def test_values_are_those_of_scikit_learn():
    points = np.random.default_rng(0).normal(size=(300, 5))
    distances, _ = NearestNeighbors(n_neighbors=10).fit(points).kneighbors()
    np.testing.assert_allclose(KNNDistance()(signals_of(points)).values, distances.mean(axis=1), rtol=1e-12)


def test_moving_and_stretching_space_moves_nothing_and_stretches_scores():
    points = np.random.default_rng(1).integers(-50, 50, size=(80, 3)).astype(np.float64)
    plain = KNNDistance()(signals_of(points)).values
    np.testing.assert_array_equal(KNNDistance()(signals_of(points + 8)).values, plain)
    np.testing.assert_array_equal(KNNDistance()(signals_of(4 * points)).values, 4 * plain)


def test_planted_outliers_are_the_farthest():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(200, 4))
    outliers = rng.permutation(200)[:6]
    points[outliers] += 30 * rng.choice([-1, 1], size=(6, 4)) * np.arange(1, 7)[:, None]
    found = np.argsort(-KNNDistance()(signals_of(points)).values)[:6]
    assert set(found.tolist()) == set(outliers.tolist())


def test_no_neighbour_at_all_is_refused():
    with pytest.raises(ValueError, match="num_neighbors must be at least 1, got 0"):
        KNNDistance(num_neighbors=0)
    with pytest.raises(ValueError, match="10 neighbours need more than 10 examples, got 4"):
        KNNDistance()(signals_of(np.zeros((4, 1))))
