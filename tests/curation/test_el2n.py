import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from curation.scorers.el2n import EL2N, error_l2_norm
from tests.worlds import planted_flips


def test_three_norms_worked_out_by_hand():
    probs = [0.7, 0.2, 0.1]
    norms = error_l2_norm(np.log([probs, probs, probs]), np.array([0, 1, 2]))
    # sqrt(.09 + .04 + .01) = sqrt(.14), sqrt(.49 + .64 + .01) = sqrt(1.14), sqrt(.49 + .04 + .81) = sqrt(1.34)
    np.testing.assert_allclose(norms, [0.374166, 1.067708, 1.157584], atol=5e-7)


@pytest.mark.parametrize(("num_classes", "expected"), [(10, 0.948683), (100, 0.994987)])
def test_a_model_that_knows_nothing_scores_the_closed_form(num_classes, expected):
    # sqrt(1 - 1/K)
    assert error_l2_norm(np.zeros((1, num_classes)), np.array([3]))[0] == pytest.approx(expected, abs=5e-7)


def test_norms_agree_with_a_loop_over_classes():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 5)), rng.integers(5, size=20)
    for row, label, norm in zip(logits, labels, error_l2_norm(logits, labels), strict=True):
        total = sum(np.exp(row))
        squares = sum((np.exp(row[k]) / total - (k == label)) ** 2 for k in range(5))
        assert norm == pytest.approx(squares**0.5, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-20, 20), st.floats(0.01, 50))
def test_norms_are_bounded_and_ignore_a_constant_and_the_names_of_classes(seed, constant, scale):
    rng = np.random.default_rng(seed)
    logits, labels, names = scale * rng.normal(size=(4, 6)), rng.integers(6, size=4), rng.permutation(6)
    plain = error_l2_norm(logits, labels)
    assert (plain >= 0).all()
    assert (plain <= np.sqrt(2) + 1e-12).all()
    np.testing.assert_allclose(error_l2_norm(logits + constant, labels), plain, atol=1e-11)
    np.testing.assert_allclose(error_l2_norm(logits[:, np.argsort(names)], names[labels]), plain, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(st.floats(-30, 30))
def test_with_two_classes_the_norm_is_the_missing_probability_times_root_two(logit):
    prob = 1 / (1 + np.exp(-logit))
    norm = error_l2_norm(np.array([[0.0, logit]]), np.array([1]))[0]
    assert norm == pytest.approx(np.sqrt(2) * (1 - prob), abs=1e-12)


def test_repeating_a_seed_leaves_the_mean_unchanged():
    signals = planted_flips(num_seeds=1).signals
    once = EL2N(epoch=2)(signals)
    twice = EL2N(epoch=2)(
        type(signals)(
            index=signals.index,
            arrays={"label": signals["label"], "logits": np.repeat(signals["logits"], 2, axis=0)},
            epochs={"logits": signals.epochs["logits"]},
        )
    )
    np.testing.assert_allclose(twice.values, once.values, rtol=1e-14)
    np.testing.assert_array_equal(twice.standard_error, 0.0)


def test_planted_flips_score_highest_early_and_like_any_other_once_memorised():
    world = planted_flips(num_examples=400)
    early = roc_auc_score(world.wrong, EL2N(epoch=1)(world.signals).suspicion)
    late = roc_auc_score(world.wrong, EL2N(epoch=6)(world.signals).suspicion)
    assert early > 0.99
    assert late < 0.6


def test_epochs_start_at_one():
    with pytest.raises(ValueError, match="epoch must be at least 1, got -1"):
        EL2N(epoch=-1)
