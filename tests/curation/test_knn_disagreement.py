import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from curation.scorers.knn_disagreement import KNNDisagreement, disagreement, majority
from storage.index import ExampleIndex
from storage.values import Signals


def signals_of(embedding: np.ndarray, labels: np.ndarray) -> Signals:
    index = ExampleIndex(f"world:{number:04}" for number in range(len(labels)))
    return Signals(index=index, arrays={"embedding": embedding, "label": labels})


def test_shares_and_suggestions_by_hand():
    labels = np.array([0, 0, 1, 1, 2])
    rows = np.array([[1, 2, 3], [0, 2, 4], [3, 0, 1], [2, 4, 0], [0, 2, 1]])
    # Others' labels: 0 has 0 1 1, 1 has 0 1 2, 2 has 1 0 0, 3 has 1 2 0, 4 has 0 1 0.
    np.testing.assert_array_equal(disagreement(labels, rows), np.array([2, 2, 2, 2, 3]) / 3)
    suggested, confidence = majority(labels, rows)
    assert suggested.tolist() == [1, 0, 0, 1, 0]
    np.testing.assert_array_equal(confidence, np.array([2, 1, 2, 1, 2]) / 3)


def test_of_equally_frequent_foreign_labels_the_smallest_is_suggested():
    suggested, confidence = majority(np.array([5, 3, 3, 1, 1]), np.array([[1, 2, 3, 4]] * 5))
    assert suggested.tolist() == [1, 3, 3, 1, 1]
    assert confidence.tolist() == [0.5] * 5


def test_the_vote_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(120, 3)), rng.integers(3, size=120)
    found = KNNDisagreement(num_neighbors=7)(signals_of(points, labels))
    for row in range(120):
        others = np.arange(120) != row
        peer = KNeighborsClassifier(7).fit(points[others], labels[others])
        shares = peer.predict_proba(points[[row]])[0]
        assert found.values[row] == pytest.approx(1 - shares[labels[row]], abs=1e-12)
        assert found.columns["confidence"][row] == pytest.approx(shares.max(), abs=1e-12)


def test_renaming_classes_renames_suggestions():
    rng = np.random.default_rng(1)
    points, labels, names = rng.normal(size=(90, 2)), rng.integers(2, size=90), np.array([7, 4])
    plain = KNNDisagreement(num_neighbors=5)(signals_of(points, labels))
    renamed = KNNDisagreement(num_neighbors=5)(signals_of(points, names[labels]))
    np.testing.assert_array_equal(renamed.values, plain.values)
    np.testing.assert_array_equal(renamed.columns["suggested_label"], names[plain.columns["suggested_label"]])


def test_planted_flips_are_found_and_put_right():
    rng = np.random.default_rng(2)
    clean = rng.integers(4, size=400)
    points = 4 * np.eye(4)[clean] + rng.normal(size=(400, 4))
    wrong = rng.random(400) < 0.2
    labels = np.where(wrong, (clean + rng.integers(1, 4, size=400)) % 4, clean)
    found = KNNDisagreement()(signals_of(points, labels))
    assert roc_auc_score(wrong, found.suspicion) > 0.98
    assert (found.columns["suggested_label"] == clean).mean() > 0.95


def test_missing_labels_are_refused():
    with pytest.raises(ValueError, match=r"1 of 3 examples bear no label .first: 'world:0001'"):
        KNNDisagreement(num_neighbors=1)(signals_of(np.zeros((3, 1)), np.array([0, -1, 2])))
    with pytest.raises(TypeError, match="signal 'label' must hold integers, got float64"):
        KNNDisagreement(num_neighbors=1)(signals_of(np.zeros((3, 1)), np.zeros(3)))


def recorded(points: np.ndarray, labels: np.ndarray) -> Signals:
    """Embeddings (R, N, D) of R seeds, of which two epochs were recorded: the first of them says nothing."""
    index = ExampleIndex(f"world:{number:04}" for number in range(len(labels)))
    both = np.stack([np.zeros_like(points), points], axis=2)
    return Signals(index=index, arrays={"embedding": both, "label": labels}, epochs={"embedding": (1, 3)})


def test_seeds_are_scored_by_themselves_and_their_neighbours_vote_together():
    rng = np.random.default_rng(4)
    points, labels = rng.normal(size=(3, 40, 2)), rng.integers(3, size=40)
    found = KNNDisagreement(num_neighbors=5)(recorded(points, labels))
    alone = [KNNDisagreement(num_neighbors=5)(signals_of(one, labels)) for one in points]
    values = np.stack([one.values for one in alone])
    np.testing.assert_allclose(found.values, values.mean(axis=0))
    np.testing.assert_allclose(found.standard_error, values.std(axis=0, ddof=1) / np.sqrt(3))
    assert all(one.standard_error is None for one in alone)
    for row in range(40):
        around = [labels[np.argsort(np.linalg.norm(one - one[row], axis=1), kind="stable")[1:6]] for one in points]
        counts = np.bincount(np.concatenate(around), minlength=3)
        assert found.columns["confidence"][row] == counts.max() / 15
        assert counts[found.columns["suggested_label"][row]] == counts.max()


def test_seeds_in_batches_are_those_at_once():
    rng = np.random.default_rng(5)
    rows = recorded(rng.normal(size=(2, 50, 2)), rng.integers(3, size=50))
    scorer = KNNDisagreement(num_neighbors=4)
    before = scorer.start(rows.take(np.arange(30)))
    after = scorer.extend(before.state, before.new, rows.take(np.arange(30, 50)))
    merged, whole = after.over(before.new), scorer(rows)
    np.testing.assert_array_equal(merged.values, whole.values)
    np.testing.assert_array_equal(merged.standard_error, whole.standard_error)
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(merged.columns[name], column)


def test_another_number_of_seeds_is_refused():
    rng = np.random.default_rng(6)
    points, labels = rng.normal(size=(3, 30, 2)), rng.integers(3, size=30)
    scorer = KNNDisagreement(num_neighbors=4)
    before = scorer.start(recorded(points[:2, :20], labels[:20]))
    for seeds in (points[:1], points):
        new = recorded(seeds[:, 20:], labels[20:])
        new = Signals(index=ExampleIndex([f"new:{row}" for row in range(10)]), arrays=new.arrays, epochs=new.epochs)
        with pytest.raises(ValueError, match=f"embeddings of {len(seeds)} seeds, and earlier ones of another number"):
            scorer.extend(before.state, before.new, new)
