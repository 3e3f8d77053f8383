import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.worst_case import conditional_value_at_risk, group_accuracy, tail_accuracy, tail_classes, tail_metrics

TEN = np.array([0.70, 0.65, 0.60, 0.55, 0.50, 0.45, 0.40, 0.35, 0.30, 0.20])


def test_tail_of_ten_classes_by_hand():
    # (0.35 + 0.30 + 0.20) / 3
    assert tail_accuracy(TEN) == pytest.approx(0.283333, abs=1e-6)
    assert tail_classes(TEN).tolist() == [7, 8, 9]


def test_four_classes_have_a_tail_of_two_and_absent_classes_do_not_count():
    assert tail_classes(np.array([0.9, 0.1, 0.5, 0.7])).tolist() == [1, 2]
    assert tail_classes(np.array([np.nan, 0.1, np.nan, 0.7])).tolist() == [1]


def test_a_fixed_set_of_classes_is_never_below_the_models_own_tail():
    other = TEN[::-1]
    assert tail_accuracy(other, tail_classes(TEN)) == pytest.approx(0.65)
    assert tail_accuracy(other) <= tail_accuracy(other, tail_classes(TEN))


def test_group_accuracy_by_hand():
    correct = np.array([True, False, True, True, False])
    found = group_accuracy(correct, np.array([0, 0, 2, 2, 5]))
    assert found.groups.tolist() == [0, 2, 5]
    assert found.accuracies.tolist() == [0.5, 1.0, 0.0]
    assert found.counts.tolist() == [2, 2, 1]
    assert found.worst == 0.0
    assert found.balanced == 0.5


def test_value_at_risk_by_hand():
    # half of five is two and a half: (5 + 4 + 0.5 * 3) / 2.5 = 4.2
    assert conditional_value_at_risk(np.array([1.0, 2, 3, 4, 5]), fraction=0.5) == pytest.approx(4.2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.floats(0.05, 1))
def test_value_at_risk_is_the_minimum_of_its_dual(losses, fraction):
    values = np.array(losses)
    dual = min(eta + np.maximum(values - eta, 0).mean() / fraction for eta in values)
    assert conditional_value_at_risk(values, fraction=fraction) == pytest.approx(dual, abs=1e-9)


def test_value_at_risk_of_everything_is_the_mean_and_of_almost_nothing_the_maximum():
    losses = np.array([1.0, 7, 4])
    assert conditional_value_at_risk(losses, fraction=1.0) == pytest.approx(4.0)
    assert conditional_value_at_risk(losses, fraction=0.01) == pytest.approx(7.0)


def test_fractions_out_of_range_are_refused():
    for function in (conditional_value_at_risk, tail_classes):
        with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\], got 0"):
            function(TEN, fraction=0)


def test_tail_metrics_by_hand():
    # Four classes, ten rows: class accuracies 2/3, 1/2, 1, 1/2; the lowest two are classes 1 and 3.
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
    predicted = np.array([0, 0, 1, 1, 0, 2, 2, 2, 3, 0])
    logits = np.log(3) * np.eye(4)[predicted]
    found = tail_metrics(logits, labels, fixed=np.array([0, 2]))
    assert found.accuracy == pytest.approx(0.7)
    assert found.worst_class == 0.5
    assert found.tail == pytest.approx(0.5)
    assert found.tail_classes == (1, 3)
    assert found.fixed_tail == pytest.approx(5 / 6)
    # The worst tenth is one of the wrong rows: log(3 + 1 + 1 + 1) - 0
    assert found.loss_at_risk == pytest.approx(1.791759, abs=1e-6)
    assert tail_metrics(logits, labels).fixed_tail is None
    assert tail_metrics(1000 * logits, labels).loss_at_risk == pytest.approx(1098.612289, abs=1e-6)
