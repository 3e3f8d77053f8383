import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from curation.margins import rival_classes
from curation.scorers.elr_noise import ELRNoise, normalised_targets
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import one_epoch, planted_flips


def recorded(targets: np.ndarray, labels: list[int]) -> Signals:
    return Signals(
        index=ExampleIndex(f"world:{number}" for number in range(len(labels))),
        arrays={"elr_targets": targets, "label": np.array(labels)},
        epochs={"elr_targets": tuple(range(1, targets.shape[2] + 1))},
    )


def test_three_margins_worked_out_by_hand():
    # One visit with beta 0.7 and p = (0.6, 0.3, 0.1) leaves t = 0.3 p = (0.18, 0.09, 0.03).
    # Normalised: label 0: 0.3 - 0.6 = -0.3; label 1: 0.6 - 0.3 = 0.3; label 2: 0.6 - 0.1 = 0.5.
    scores = ELRNoise()(one_epoch("elr_targets", [[0.18, 0.09, 0.03]] * 3, [0, 1, 2]))
    np.testing.assert_allclose(scores.values, [-0.3, 0.3, 0.5], atol=1e-12)
    assert scores.columns["flagged"].tolist() == [False, True, True]
    assert scores.columns["suggested_label"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(scores.columns["confidence"], [0.6, 0.6, 0.6])
    assert scores.high_means == "suspect"


def test_seeds_are_averaged_before_the_rival_is_chosen():
    # Seeds say (0.5, 0.4, 0.1) and (0.1, 0.4, 0.5): the mean (0.3, 0.4, 0.3) suggests class 1,
    # which neither seed does. Margins against class 1: -0.1 and 0.3; mean 0.1, error 0.2.
    targets = np.array([[[[0.5, 0.4, 0.1]]], [[[0.1, 0.4, 0.5]]]])
    scores = ELRNoise()(recorded(targets, [0]))
    np.testing.assert_allclose(scores.values, [0.1], atol=1e-12)
    np.testing.assert_allclose(scores.standard_error, [0.2], atol=1e-12)
    assert scores.columns["suggested_label"].tolist() == [1]
    np.testing.assert_allclose(scores.columns["confidence"], [0.4])


def test_a_tie_with_the_given_label_is_not_flagged():
    scores = ELRNoise()(one_epoch("elr_targets", [[0.5, 0.5], [0.5, 0.5]], [0, 1]))
    assert scores.columns["flagged"].tolist() == [False, False]
    assert scores.columns["suggested_label"].tolist() == [0, 1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_with_one_seed_the_flags_are_those_of_the_plain_argmax(seed):
    rng = np.random.default_rng(seed)
    targets, labels = rng.dirichlet(np.ones(5), size=8) * rng.uniform(0.01, 1, size=(8, 1)), rng.integers(5, size=8)
    scores = ELRNoise()(one_epoch("elr_targets", targets.tolist(), labels.tolist()))
    np.testing.assert_array_equal(scores.columns["flagged"], targets.argmax(axis=1) != labels)
    np.testing.assert_array_equal(scores.columns["suggested_label"], targets.argmax(axis=1))
    assert (np.abs(scores.values) <= 1).all()


def test_margins_agree_with_a_loop_over_classes():
    rng = np.random.default_rng(0)
    targets, labels = rng.dirichlet(np.ones(4), size=(3, 10, 2)), rng.integers(4, size=10)
    scores = ELRNoise(epoch=1)(recorded(targets, labels.tolist()))
    for position, label in enumerate(labels):
        mean = [sum(targets[seed, position, 0, k] for seed in range(3)) / 3 for k in range(4)]
        others = [mean[k] for k in range(4) if k != label]
        assert scores.values[position] == pytest.approx(max(others) - mean[label], abs=1e-12)
        assert scores.columns["confidence"][position] == pytest.approx(max(mean), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.floats(0.0, 0.95))
def test_the_number_of_visits_does_not_matter_when_predictions_are_constant(visits, beta):
    prediction = np.array([0.2, 0.7, 0.1])
    target = (1 - beta**visits) * prediction
    scores = ELRNoise()(one_epoch("elr_targets", [target.tolist()], [0]))
    assert scores.values[0] == pytest.approx(0.5, abs=1e-9)


def test_planted_flips_are_found_and_corrected():
    world = planted_flips()
    scores = ELRNoise()(world.signals)
    assert roc_auc_score(world.wrong, scores.suspicion) > 0.99
    assert np.mean(scores.columns["flagged"] == world.wrong) > 0.98
    assert np.mean(scores.columns["suggested_label"] == world.clean_labels) > 0.98


def test_examples_never_visited_are_counted_and_the_first_is_named():
    targets = np.full((2, 4, 1, 3), 0.2)
    targets[1, 2] = 0
    targets[:, 3] = 0
    with pytest.raises(ValueError, match=r"2 of 4 examples have no ELR target: .*'world:2'"):
        ELRNoise()(recorded(targets, [0, 1, 2, 0]))


def test_impossible_settings_and_single_classes_are_refused():
    with pytest.raises(ValueError, match="epoch must be at least 1, got 0"):
        ELRNoise(epoch=0)
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        ELRNoise()(one_epoch("elr_targets", [[0.3]], [0]))


def test_the_pure_functions_stand_alone():
    targets = np.array([[0.18, 0.09, 0.03], [0.0, 0.5, 0.0]])
    np.testing.assert_allclose(normalised_targets(targets), [[0.6, 0.3, 0.1], [0, 1, 0]])
    assert rival_classes(targets, np.array([0, 1])).tolist() == [1, 0]
