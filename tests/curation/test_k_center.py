from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.selectors.k_center import KCenter, farthest_first
from storage.index import ExampleIndex
from storage.values import Selection, Signals


def run(selector: KCenter, embeddings: np.ndarray, ids: list[str] | None = None) -> Selection:
    index = ExampleIndex(ids or [f"world:{number:03}" for number in range(len(embeddings))])
    signals = Signals(index=index, arrays={"embedding": np.asarray(embeddings, dtype=np.float32)})
    return selector(signals, {}, np.random.default_rng(0))


def radius(points: np.ndarray, centers: np.ndarray) -> float:
    return float(max(min(np.linalg.norm(point - center) for center in points[centers]) for point in points))


def test_centers_on_a_line_by_hand():
    # Mean of 0, 1, 4, 5, 10 is 4: row 2 first; 10 is 6 away; then 0 is 4 away; then 1 and 5 tie at 1.
    points = np.array([[0.0], [1.0], [4.0], [5.0], [10.0]])
    assert farthest_first(points, 5).tolist() == [2, 4, 0, 1, 3]


def test_ties_go_to_the_smaller_ids():
    selection = run(KCenter(fraction=0.5), [[0.0], [0.0], [0.0], [0.0]], ids=["d", "b", "a", "c"])
    assert selection.weights.tolist() == [0, 1, 1, 0]


def test_twins_of_a_center_come_after_everything_else_and_no_center_comes_twice():
    points = np.array([[0.0], [0.0], [0.0], [1.0], [2.0]])
    order = farthest_first(points, 5)
    assert sorted(order.tolist()) == [0, 1, 2, 3, 4]
    assert set(order[:3].tolist()) == {0, 3, 4}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_each_center_is_the_farthest_example_of_a_slow_loop(seed, num_centers):
    points = np.random.default_rng(seed).integers(-4, 5, size=(12, 2)).astype(float)
    found = farthest_first(points, num_centers).tolist()
    mean = points.mean(axis=0)
    expected = [min(range(12), key=lambda row: (((points[row] - mean) ** 2).sum(), row))]
    while len(expected) < num_centers:
        rest = [row for row in range(12) if row not in expected]
        gap = {row: min(((points[row] - points[center]) ** 2).sum() for center in expected) for row in rest}
        expected.append(min(rest, key=lambda row: (-gap[row], row)))
    assert found == expected


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_radius_is_at_most_twice_the_best_of_all_subsets(seed):
    points = np.random.default_rng(seed).normal(size=(9, 2))
    best = min(radius(points, np.array(centers)) for centers in combinations(range(9), 3))
    assert radius(points, farthest_first(points, 3)) <= 2 * best + 1e-12


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0, 4.0]))
def test_moving_turning_and_scaling_the_space_changes_nothing(seed, scale):
    points = np.random.default_rng(seed).normal(size=(15, 2))
    turned = scale * points @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 3
    assert farthest_first(turned, 6).tolist() == farthest_first(points, 6).tolist()


def test_every_planted_cluster_gets_a_center():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(5), [200, 50, 20, 5, 2])
    points = 20 * rng.normal(size=(5, 8))[clusters] + rng.normal(size=(277, 8))
    selection = run(KCenter(fraction=5 / 277), points)
    assert sorted(clusters[selection.kept].tolist()) == [0, 1, 2, 3, 4]
    assert set(selection.reasons[selection.kept]) == {"center of a region of the embeddings"}


def test_missing_broken_and_flat_embeddings_are_refused():
    index = ExampleIndex(["a", "b"])
    with pytest.raises(ValueError, match="signal 'embedding' was not recorded"):
        KCenter(fraction=0.5)(Signals(index=index, arrays={}), {}, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"'embedding' is not finite for 1 of 2 examples \(first: 'world:001'\)"):
        run(KCenter(fraction=0.5), [[0.0], [np.nan]])
    with pytest.raises(ValueError, match=r"'embedding' must be \(N, D\) of floating point, got \(2,\)"):
        run(KCenter(fraction=0.5), np.array([0.0, 1.0]))
