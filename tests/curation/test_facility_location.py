from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.selectors import facility_location
from curation.selectors.facility_location import FacilityLocation, Likeness, most_representative
from storage.index import ExampleIndex
from storage.values import Selection, Signals


def run(selector: FacilityLocation, embeddings: np.ndarray, ids: list[str] | None = None) -> Selection:
    index = ExampleIndex(ids or [f"world:{number:03}" for number in range(len(embeddings))])
    signals = Signals(index=index, arrays={"embedding": np.asarray(embeddings, dtype=np.float32)})
    return selector(signals, {}, np.random.default_rng(0))


def value(similar: np.ndarray, chosen: tuple[int, ...] | list[int]) -> float:
    return float(similar[:, list(chosen)].max(axis=1).sum()) if len(chosen) else 0.0


def all_similar(points: np.ndarray, similarity: str) -> np.ndarray:
    return Likeness(points, similarity).rows(np.arange(len(points)))


def test_cosines_become_similarities_in_0_to_1_by_hand():
    # (3, 0) with (0, 2): cosine 0; with (-1, 0): -1; with itself and (5, 0): 1; a zero vector counts as cosine 0.
    points = np.array([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [5.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(all_similar(points, "cosine")[0], [1.0, 0.5, 0.0, 1.0, 0.5])


def test_distances_become_similarities_by_hand():
    # Mean of 0, 1, 5 is 2; the farthest from it is 3 away, so all distances are at most 6.
    points = np.array([[0.0], [1.0], [5.0]])
    np.testing.assert_allclose(all_similar(points, "euclidean"), np.array([[6, 5, 1], [5, 6, 2], [1, 2, 6]]) / 6)


def test_the_choice_on_a_line_by_hand():
    # Sums of distances from 0, 1, 10 to all: 11, 10, 19, so 1 comes first; then 10 gains 9 and 0 gains 1.
    likeness = Likeness(np.array([[0.0], [1.0], [10.0]]), "euclidean")
    assert most_representative(likeness, 3).tolist() == [1, 2, 0]


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_chosen=st.integers(1, 4))
def test_each_choice_is_the_best_next_one_and_all_are_near_the_best_of_all_subsets(similarity, seed, num_chosen):
    points = np.random.default_rng(seed).normal(size=(9, 3))
    similar = all_similar(points, similarity)
    found = most_representative(Likeness(points, similarity), num_chosen).tolist()
    for place in range(num_chosen):
        before = found[:place]
        # Two rows that help each other alone gain the same, but for rounding.
        reachable = max(value(similar, [*before, row]) for row in range(9) if row not in before)
        assert value(similar, found[: place + 1]) == pytest.approx(reachable, rel=1e-12)
    assert len(set(found)) == num_chosen
    best = max(value(similar, chosen) for chosen in combinations(range(9), num_chosen))
    assert value(similar, found) >= (1 - 1 / np.e) * best


def test_blocks_change_nothing(monkeypatch):
    points = np.random.default_rng(0).normal(size=(40, 4))
    whole = most_representative(Likeness(points, "euclidean"), 12)
    monkeypatch.setattr(facility_location, "PAIRS_AT_ONCE", 130)
    np.testing.assert_array_equal(most_representative(Likeness(points, "euclidean"), 12), whole)


def test_one_example_of_each_clump_is_kept_and_the_outlier_is_left_out():
    rng = np.random.default_rng(1)
    centers = np.repeat([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]], [12, 11, 10], axis=0)
    points = np.concatenate([centers + rng.normal(size=(33, 2)), [[28.0, 28.0]]])
    selection = run(FacilityLocation(fraction=3 / 34, similarity="euclidean"), points)
    clumps = np.repeat([0, 1, 2, 3], [12, 11, 10, 1])[selection.kept]
    assert sorted(clumps) == [0, 1, 2]


def test_twins_go_to_the_smaller_ids():
    selection = run(FacilityLocation(fraction=0.5), [[1.0, 2.0]] * 4, ids=["d", "b", "a", "c"])
    assert selection.weights.tolist() == [0, 1, 1, 0]


def test_what_is_no_embedding_is_refused():
    with pytest.raises(ValueError, match="signal 'embedding' must be \\(N, D\\)"):
        run(FacilityLocation(fraction=0.5), np.ones(4))
    with pytest.raises(ValueError, match="not finite"):
        run(FacilityLocation(fraction=0.5), np.array([[0.0], [np.nan]]))
    with pytest.raises(ValueError, match="similarity must be one of cosine, euclidean, got 'dot'"):
        FacilityLocation(fraction=0.5, similarity="dot")
