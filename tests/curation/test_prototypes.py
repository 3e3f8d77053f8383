import sys

import numpy as np
import pytest

from curation.selectors import prototypes
from curation.selectors.prototypes import Prototypes, centroids, medoids, nearest_distances
from storage.index import ExampleIndex
from storage.values import Selection, Signals

LINE = np.array([[0.0], [1.0], [2.5], [10.0], [11.0], [12.5]], dtype=np.float32)
"""Two clumps with the centroids 3.5 / 3 and 33.5 / 3: 1 and 11 are near them, 2.5 and 12.5 far."""


def run(selector: Prototypes, embeddings: np.ndarray) -> Selection:
    index = ExampleIndex([f"world:{number:03}" for number in range(len(embeddings))])
    signals = Signals(index=index, arrays={"embedding": np.asarray(embeddings, dtype=np.float32)})
    return selector(signals, {}, np.random.default_rng(0))


def clouds(num_points: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.normal(size=(num_points, 2)) + 8 * rng.integers(3, size=(num_points, 1))).astype(np.float32)


def test_centroids_and_distances_by_hand():
    found = np.sort(centroids(LINE, 2, seed=0), axis=0)
    np.testing.assert_allclose(found, [[3.5 / 3], [33.5 / 3]], rtol=1e-6)
    np.testing.assert_allclose(nearest_distances(np.array([[0.0], [7.0]]), np.array([[1.0], [4.0]])), [1.0, 9.0])


def test_the_far_or_the_near_ones_are_kept():
    far = run(Prototypes(fraction=1 / 3, num_prototypes=2), LINE)
    near = run(Prototypes(fraction=1 / 3, num_prototypes=2, keep="near"), LINE)
    assert np.flatnonzero(far.kept).tolist() == [2, 5]
    assert np.flatnonzero(near.kept).tolist() == [1, 4]
    assert far.reasons[2] == "among the 33.3333 % farthest from their prototype, one of 2 centroids"
    assert near.reasons[0] == "not among the 33.3333 % nearest to their prototype, one of 2 centroids"


def test_examples_planted_at_the_border_of_clumps_are_the_first_to_be_kept():
    points = np.concatenate([clouds(60), [[0.0, 5.5], [16.0, 10.5]]])
    assert np.flatnonzero(run(Prototypes(fraction=2 / 62, num_prototypes=3), points).kept).tolist() == [60, 61]


def test_more_prototypes_than_distinct_points_repeat_nothing():
    selection = run(Prototypes(fraction=0.5, num_prototypes=3), np.array([[0.0], [0.0], [1.0], [1.0]]))
    assert selection.weights.tolist() == [1, 1, 0, 0]


def test_medoids_are_those_of_the_package_and_no_swap_betters_them():
    import kmedoids

    points = clouds(40)
    found = medoids(points, 3, seed=5)
    distances = np.linalg.norm(points[:, None] - points, axis=2).astype(np.float32)
    theirs = kmedoids.fasterpam(distances, 3, random_state=5, n_cpu=1)
    assert found.tolist() == sorted(theirs.medoids.tolist())
    loss = distances[:, found].min(axis=1).sum()
    for place in range(3):
        for other in set(range(40)) - set(found.tolist()):
            swapped = found.copy()
            swapped[place] = other
            assert distances[:, swapped].min(axis=1).sum() >= loss - 1e-3


def test_medoids_of_two_clumps_are_their_middle_ones():
    # Medoids 1 and 11: distances 1, 0, 1.5, 1, 0, 1.5.
    far = run(Prototypes(fraction=1 / 3, num_prototypes=2, kind="medoids"), LINE)
    assert np.flatnonzero(far.kept).tolist() == [2, 5]


def test_without_the_package_the_line_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kmedoids", None)
    with pytest.raises(ImportError, match=r"pip install 'tamis\[prototypes\]'"):
        run(Prototypes(fraction=0.5, num_prototypes=2, kind="medoids"), LINE)


def test_too_many_examples_for_medoids_are_refused(monkeypatch):
    monkeypatch.setattr(prototypes, "MOST_FOR_MEDOIDS", 5)
    with pytest.raises(ValueError, match="at most 5 of them, got 6; use kind = 'centroids'"):
        run(Prototypes(fraction=0.5, num_prototypes=2, kind="medoids"), LINE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_prototypes": 0}, "num_prototypes must be at least 1, got 0"),
        ({"num_prototypes": 2, "keep": "middle"}, "keep must be one of far, near, got 'middle'"),
        ({"num_prototypes": 2, "kind": "means"}, "kind must be one of centroids, medoids, got 'means'"),
    ],
)
def test_settings_outside_their_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Prototypes(fraction=0.5, **wrong)


def test_more_prototypes_than_examples_are_refused():
    with pytest.raises(ValueError, match=r"num_prototypes must be in \[1, 6\] here, got 7"):
        run(Prototypes(fraction=0.5, num_prototypes=7), LINE)
