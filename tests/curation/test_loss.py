import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.metrics import log_loss, roc_auc_score

from curation.scorers.loss import Loss, cross_entropy
from tests.worlds import one_epoch, planted_flips


def test_three_losses_worked_out_by_hand():
    probs = [0.7, 0.2, 0.1]
    losses = cross_entropy(np.log([probs, probs, [1 / 3] * 3]), np.array([0, 1, 2]))
    # -ln 0.7 = 0.356675, -ln 0.2 = 1.609438, ln 3 = 1.098612
    np.testing.assert_allclose(losses, [0.356675, 1.609438, 1.098612], atol=5e-7)


def test_losses_agree_with_a_loop_over_examples_and_with_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 5)), rng.integers(5, size=30)
    slow = [logsumexp(row) - row[label] for row, label in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(cross_entropy(logits, labels), slow, rtol=1e-12)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert cross_entropy(logits, labels).mean() == pytest.approx(log_loss(labels, probs, labels=range(5)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-20, 20))
def test_losses_ignore_a_constant_and_the_names_of_classes(seed, constant):
    rng = np.random.default_rng(seed)
    logits, labels, names = rng.normal(size=(4, 6)), rng.integers(6, size=4), rng.permutation(6)
    plain = cross_entropy(logits, labels)
    assert (plain >= 0).all()
    np.testing.assert_allclose(cross_entropy(logits + constant, labels), plain, atol=1e-12)
    np.testing.assert_allclose(cross_entropy(logits[:, np.argsort(names)], names[labels]), plain, atol=1e-12)


def test_a_certain_wrong_prediction_has_a_large_finite_loss():
    scores = Loss()(one_epoch("logits", [[2000.0, 0.0]], [1]))
    assert scores.values.tolist() == [2000.0]
    assert scores.standard_error is None


def test_seeds_are_averaged_with_their_standard_error():
    world = planted_flips(num_seeds=3)
    logits, labels = world.signals["logits"][:, :, 1], world.signals["label"]
    each = np.array([cross_entropy(logits[seed], labels) for seed in range(3)])
    scores = Loss(epoch=2)(world.signals)
    np.testing.assert_allclose(scores.values, each.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scores.standard_error, each.std(axis=0, ddof=1) / np.sqrt(3), rtol=1e-12)


def test_planted_flips_have_the_large_losses_early_on():
    world = planted_flips()
    scores = Loss(epoch=1)(world.signals)
    assert roc_auc_score(world.wrong, scores.suspicion) > 0.99


def test_no_epoch_means_the_last_one_recorded():
    world = planted_flips()
    np.testing.assert_array_equal(Loss()(world.signals).values, Loss(epoch=6)(world.signals).values)


def test_an_epoch_that_was_not_recorded_is_refused_with_those_that_were():
    with pytest.raises(ValueError, match="epoch 9 of signal 'logits' was not recorded; recorded are 1, 2, 3"):
        Loss(epoch=9)(planted_flips(num_epochs=3).signals)
    with pytest.raises(ValueError, match="epoch must be at least 1, got 0"):
        Loss(epoch=0)
