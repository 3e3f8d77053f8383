import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from curation.label_actions import LabelAction
from curation.scorers.aum import AUM, area_under_margin
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import one_epoch, planted_flips


def test_three_areas_worked_out_by_hand():
    # Margins (1.77, 0.52) average 1.145; (-3.20, -4.37) average -3.785; (1.26, 1.15) average 1.205.
    logits = np.array(
        [
            [[2.00, 0.23, 0.0], [0.52, -1.0, 0.0]],
            [[4.20, 1.00, 0.0], [1.00, 0.63, 5.0]],
            [[0.00, 1.00, 2.26], [1.0, 1.00, 2.15]],
        ]
    )
    areas = area_under_margin(logits, np.array([0, 1, 2]))
    np.testing.assert_allclose(areas, [1.145, -3.785, 1.205], rtol=1e-12)


def test_after_one_epoch_the_area_is_the_margin_itself():
    scores = AUM()(one_epoch("train_logits", [[3.0, -0.2, 1.0]], [1]))
    np.testing.assert_allclose(scores.values, [-3.20], rtol=1e-12)
    assert scores.suspicion[0] == pytest.approx(3.20)


def test_areas_agree_with_a_loop_over_epochs():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(10, 4, 5)), rng.integers(5, size=10)
    for rows, label, area in zip(logits, labels, area_under_margin(logits, labels), strict=True):
        margins = [row[label] - max(row[k] for k in range(5) if k != label) for row in rows]
        assert area == pytest.approx(sum(margins) / 4, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-20, 20), st.floats(0.1, 10))
def test_areas_ignore_a_constant_and_class_names_and_scale_with_the_logits(seed, constant, scale):
    rng = np.random.default_rng(seed)
    logits, labels, names = rng.normal(size=(4, 3, 6)), rng.integers(6, size=4), rng.permutation(6)
    plain = area_under_margin(logits, labels)
    np.testing.assert_allclose(area_under_margin(logits + constant, labels), plain, atol=1e-11)
    np.testing.assert_allclose(area_under_margin(scale * logits, labels), scale * plain, atol=1e-11)
    renamed = area_under_margin(logits[..., np.argsort(names)], names[labels])
    np.testing.assert_allclose(renamed, plain, atol=1e-12)


def test_planted_flips_have_the_small_areas():
    world = planted_flips()
    scores = AUM()(world.signals)
    assert scores.high_means == "clean"
    assert roc_auc_score(world.wrong, scores.suspicion) > 0.99
    assert scores.values[world.wrong].mean() < scores.values[~world.wrong].mean()


def test_burn_in_counts_epochs_of_training_not_recorded_ones():
    arrays = {
        "train_logits": np.array([[[[5.0, 0.0], [1.0, 0.0], [2.0, 0.0]]]]),
        "label": np.array([0]),
    }
    signals = Signals(index=ExampleIndex(["a"]), arrays=arrays, epochs={"train_logits": (2, 4, 6)})
    assert AUM()(signals).values[0] == pytest.approx(8 / 3)
    assert AUM(burn_in=1)(signals).values[0] == pytest.approx(8 / 3)
    assert AUM(burn_in=2)(signals).values[0] == pytest.approx(1.5)
    assert AUM(burn_in=5)(signals).values[0] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="burn_in must be below the last recorded epoch, 6, got 6"):
        AUM(burn_in=6)(signals)


def test_diverged_epochs_within_the_burn_in_do_not_matter():
    world = planted_flips()
    logits = world.signals["train_logits"].copy()
    logits[:, 4, 0] = np.nan
    signals = Signals(
        index=world.signals.index,
        arrays={"train_logits": logits, "label": world.signals["label"]},
        epochs={"train_logits": world.signals.epochs["train_logits"]},
    )
    expected = AUM(burn_in=1)(world.signals).values
    np.testing.assert_array_equal(AUM(burn_in=1)(signals).values, expected)


def test_impossible_settings_and_single_classes_are_refused():
    with pytest.raises(ValueError, match="burn_in must be at least 0, got -1"):
        AUM(burn_in=-1)
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        AUM()(one_epoch("train_logits", [[1.0]], [0]))


def test_the_suggested_label_has_the_largest_mean_probability_over_epochs_and_seeds():
    world = planted_flips()
    logits, labels = world.signals["train_logits"], world.signals["label"]
    found = AUM(burn_in=1)(world.signals)
    read = [place for place, epoch in enumerate(world.signals.epochs["train_logits"]) if epoch > 1]
    for row in range(0, len(labels), 7):
        each = [np.exp(one[row, epoch]) / np.exp(one[row, epoch]).sum() for one in logits for epoch in read]
        mean = np.mean(each, axis=0)
        assert found.columns["suggested_label"][row] == mean.argmax()
        assert found.columns["confidence"][row] == pytest.approx(mean.max())
    assert np.mean(found.columns["suggested_label"] == world.clean_labels) > 0.9


def test_wrong_labels_are_flagged_by_their_suggestion_for_label_actions():
    world = planted_flips()
    action = LabelAction(score="aum", action="relabel", confidence=0.0)
    decided = action.decide(world.signals, {"aum": AUM()(world.signals)})
    assert decided.labels is not None
    assert np.mean(decided.labels == world.clean_labels) > np.mean(world.signals["label"] == world.clean_labels)
