import numpy as np
import pytest

from learners.clean_metrics import clean_metrics

LOGITS = np.log(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32))
LABELS = np.array([0, 0, 1, 1])


def test_accuracies_by_hand():
    found = clean_metrics(LOGITS, LABELS)
    assert found["test_accuracy"] == 3 / 4
    assert found["balanced_accuracy"] == 3 / 4
    assert found["worst_class_accuracy"] == 1 / 2
    assert found["worst_class_examples"] == 2


def test_losses_and_calibration_by_hand():
    found = clean_metrics(LOGITS, LABELS)
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.3]).mean(), rel=1e-6)
    assert found["brier"] == pytest.approx((2 * 0.01 + 2 * 0.16 + 2 * 0.04 + 2 * 0.49) / 4, rel=1e-6)
    assert found["ece_10"] == pytest.approx((0.1 + 0.4 + 0.2 + 0.7) / 4, rel=1e-5)
    assert found["ece_15"] == pytest.approx((0.1 + 0.4 + 0.2 + 0.7) / 4, rel=1e-5)
    assert found["aurc"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    assert found["excess_aurc"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4 - (1 / 4) / 4)


def test_a_temperature_scales_losses_and_leaves_the_unscaled_ones():
    found = clean_metrics(LOGITS, LABELS, temperature=2.0)
    plain = clean_metrics(LOGITS, LABELS)
    assert {name: found[name] for name in plain} == plain
    assert set(found) - set(plain) == {"scaled_nll", "scaled_ece_15"}
    odds = np.sqrt(np.array([9, 1.5, 4, 3 / 7]))
    assert found["scaled_nll"] == pytest.approx(-np.log(odds / (1 + odds)).mean(), rel=1e-6)
    half = clean_metrics(LOGITS / 2, LABELS)
    assert found["scaled_ece_15"] == pytest.approx(half["ece_15"])


def test_the_worst_group_is_told_with_its_size_where_there_are_groups():
    found = clean_metrics(LOGITS, LABELS, groups=np.array([5, 5, 5, 9]))
    assert (found["worst_group_accuracy"], found["worst_group_examples"]) == (0.0, 1.0)
    assert "worst_group_accuracy" not in clean_metrics(LOGITS, LABELS)


def test_classes_without_examples_do_not_count():
    wide = np.concatenate([LOGITS, np.full((4, 1), -9, np.float32)], axis=1)
    assert clean_metrics(wide, LABELS)["balanced_accuracy"] == 3 / 4
