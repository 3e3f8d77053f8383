import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from curation.examiners.hashed_ngrams import HashedNgrams
from curation.linear_classifier import fit, probability
from curation.scorers.text_classifier import TextClassifier
from storage.index import ExampleIndex
from storage.values import Signals


def index(num_examples: int) -> ExampleIndex:
    return ExampleIndex(f"world:{number:04}" for number in range(num_examples))


def signals_of(embedding: np.ndarray, labels: np.ndarray) -> Signals:
    return Signals(index=index(len(labels)), arrays={"embedding": embedding, "label": labels})


def test_a_probability_by_hand():
    fitted = {"coefficients": np.array([1.0, -2.0]), "intercept": np.array([0.5])}
    # 1 / (1 + e^-1.5) = 0.81757 and 1 / (1 + e^(0.5)) = 0.37754.
    found = probability(np.array([[3.0, 1.0], [1.0, 1.0]]), fitted)
    np.testing.assert_allclose(found, [0.8175744761936437, 0.3775406687981454], rtol=1e-14)


def test_the_fit_is_the_minimum_of_the_penalised_loss():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 2))
    belongs = points[:, 0] + rng.normal(size=60) > 0
    fitted = fit(points, belongs, penalty=0.5)

    def loss(parameters: np.ndarray) -> float:
        margins = points @ parameters[:2] + parameters[2]
        return np.logaddexp(0, np.where(belongs, -margins, margins)).sum() + 0.25 * (parameters[:2] ** 2).sum()

    slow = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 10**4})
    np.testing.assert_allclose([*fitted["coefficients"], *fitted["intercept"]], slow.x, atol=2e-3)


def test_rows_without_a_label_are_scored_and_not_fitted():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, -1], 40)
    points = (np.repeat([0, 3, 3], 40)[:, None] + rng.normal(size=(120, 2))).astype(np.float32)
    merge = TextClassifier(target=1).start(signals_of(points, labels))
    assert merge.new.values[80:].mean() > 0.9
    alone = TextClassifier(target=1).start(signals_of(points[:80], labels[:80]))
    for name, array in alone.state.items():
        np.testing.assert_array_equal(merge.state[name], array)


def test_later_rows_are_scored_by_the_model_of_the_start_and_change_nothing():
    rng = np.random.default_rng(2)
    labels = rng.integers(2, size=100)
    rows = signals_of(labels[:, None] + rng.normal(size=(100, 3)), labels)
    scorer = TextClassifier(target=1)
    before = scorer.start(rows.take(np.arange(60)))
    contrary = Signals(index=rows.index, arrays={"embedding": rows["embedding"], "label": 1 - labels})
    merge = scorer.extend(before.state, before.new, contrary.take(np.arange(60, 100)))
    assert merge.changed is None
    for name, array in before.state.items():
        np.testing.assert_array_equal(merge.state[name], array)
    np.testing.assert_array_equal(merge.new.values, probability(rows["embedding"][60:], before.state))


def test_a_draw_of_the_labelled_rows_follows_the_seed():
    rng = np.random.default_rng(3)
    labels = rng.integers(2, size=200)
    rows = signals_of(labels[:, None] + rng.normal(size=(200, 3)), labels)
    first, again, other = (TextClassifier(target=1, max_fitted=50, seed=seed)(rows).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_texts_like_the_target_score_high():
    rng = np.random.default_rng(4)
    labels = rng.integers(2, size=300)
    vocabularies = [[f"a{word}" for word in range(60)], [f"b{word}" for word in range(20)]]
    common = [f"c{word}" for word in range(60)]
    texts = [" ".join(rng.choice(vocabularies[label] + common, size=30)) for label in labels]
    embedding = HashedNgrams(column="text")(index(300), {"text": np.array(texts, dtype=object)})["embedding"]
    scorer = TextClassifier(target=1)
    rows = signals_of(embedding, labels)
    before = scorer.start(rows.take(np.arange(200)))
    merge = scorer.extend(before.state, before.new, rows.take(np.arange(200, 300)))
    assert roc_auc_score(labels[200:] == 1, merge.new.values) > 0.98


def test_what_cannot_be_fitted_is_refused():
    points = np.random.default_rng(5).normal(size=(4, 2))
    with pytest.raises(ValueError, match="0 of 3 labelled examples are of the target; both are needed"):
        TextClassifier(target=2)(signals_of(points, np.array([0, 1, 1, -1])))
    scorer = TextClassifier(target=1)
    before = scorer.start(signals_of(points, np.array([0, 1, 0, 1])))
    with pytest.raises(ValueError, match="'embedding' has 3 dimensions, but the model was fitted on 2"):
        scorer.extend(before.state, before.new, signals_of(np.zeros((1, 3)), np.array([0])))
    for settings, message in (
        ({"target": -1}, "target must be at least 0, got -1"),
        ({"target": 0, "penalty": 0}, "penalty must be finite and above 0, got 0"),
        ({"target": 0, "max_fitted": 1}, "max_fitted must be at least 2, got 1"),
        ({"target": 0, "seed": -1}, "seed must be at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            TextClassifier(**settings)
