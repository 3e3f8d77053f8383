import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from curation.margins import margins, rival_classes, suggestion
from curation.scorers.loss import Loss
from curation.scorers.margin import Margin, probability_margins
from curation.softmax import softmax
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import one_epoch, planted_flips


def test_three_margins_worked_out_by_hand():
    # Probabilities (0.7, 0.2, 0.1): 0.7 - 0.2 = 0.5 for class 0, 0.2 - 0.7 = -0.5, 0.1 - 0.7 = -0.6.
    logits = np.log([[0.7, 0.2, 0.1]] * 3)
    np.testing.assert_allclose(probability_margins(logits, np.array([0, 1, 2])), [0.5, -0.5, -0.6], atol=1e-12)


def test_a_rival_is_never_the_label_and_the_first_of_equals():
    values = np.array([[5.0, 1.0, 2.0], [1.0, 5.0, 1.0], [-np.inf, 0.0, -np.inf]])
    assert rival_classes(values, np.array([0, 1, 1])).tolist() == [2, 0, 0]


def test_margins_agree_with_a_loop():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(12, 5)), rng.integers(5, size=12)
    for row, label, found in zip(softmax(logits), labels, probability_margins(logits, labels), strict=True):
        others = [row[k] for k in range(5) if k != label]
        assert found == pytest.approx(row[label] - max(others), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-20, 20))
def test_margins_are_bounded_and_ignore_a_constant_and_class_names(seed, constant):
    rng = np.random.default_rng(seed)
    logits, labels, names = 5 * rng.normal(size=(6, 4)), rng.integers(4, size=6), rng.permutation(4)
    plain = probability_margins(logits, labels)
    assert (np.abs(plain) <= 1).all()
    np.testing.assert_allclose(probability_margins(logits + constant, labels), plain, atol=1e-12)
    np.testing.assert_allclose(probability_margins(logits[:, np.argsort(names)], names[labels]), plain, atol=1e-12)


def test_with_two_classes_the_margin_is_twice_the_probability_minus_one():
    logits = np.random.default_rng(1).normal(size=(8, 2))
    expected = 2 * softmax(logits)[:, 0] - 1
    np.testing.assert_allclose(margins(softmax(logits), np.zeros(8, dtype=int)), expected, atol=1e-12)


def test_planted_flips_have_the_small_margins_early_on():
    world = planted_flips()
    scores = Margin(epoch=1)(world.signals)
    assert scores.high_means == "clean"
    assert roc_auc_score(world.wrong, scores.suspicion) > 0.98


def test_the_mean_over_seeds_comes_with_its_standard_error():
    world = planted_flips(num_seeds=2)
    logits, labels = world.signals["logits"][:, :, 0], world.signals["label"]
    one, other = (probability_margins(of_seed, labels) for of_seed in logits)
    scores = Margin(epoch=1)(world.signals)
    np.testing.assert_allclose(scores.values, (one + other) / 2, atol=1e-12)
    # Two numbers: standard deviation |a - b| / sqrt(2), divided by sqrt(2).
    np.testing.assert_allclose(scores.standard_error, np.abs(one - other) / 2, atol=1e-12)


def test_one_class_and_epoch_0_are_refused():
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        Margin()(one_epoch("logits", [[1.0]], [0]))
    with pytest.raises(ValueError, match="epoch must be at least 1, got 0"):
        Margin(epoch=0)


def test_a_suggestion_is_the_likeliest_class_and_the_label_where_it_ties():
    probs = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    columns = suggestion(probs, np.array([0, 1, 0, 2]))
    assert columns["suggested_label"].tolist() == [1, 1, 0, 0]
    assert columns["confidence"].tolist() == [0.5, 0.4, 0.4, 0.4]


@pytest.mark.parametrize("scorer", [Margin(epoch=2), Loss(epoch=2)])
def test_seeds_suggest_by_their_mean_probability(scorer):
    # At epoch 2 the seeds give class 0 (0.6, 0.3) and class 1 (0.4, 0.7): means 0.45 and 0.55.
    probs = np.array([[[[0.9, 0.1], [0.6, 0.4]]], [[[0.9, 0.1], [0.3, 0.7]]]])
    arrays = {"logits": np.log(probs), "label": np.array([0])}
    found = scorer(Signals(index=ExampleIndex(["world:0"]), arrays=arrays, epochs={"logits": (1, 2)}))
    assert found.columns["suggested_label"].tolist() == [1]
    assert found.columns["confidence"][0] == pytest.approx(0.55)
