import numpy as np
import pytest
import torch

from learners.methods.erm import ERM
from learners.methods.label_smoothing import LabelSmoothing, label_smoothing_losses
from tests.learners.states import assert_equal_networks


def test_loss_of_two_classes_worked_out_by_hand():
    # K = 2, equal logits: every target costs log 2. Logits (log 3, 0): p = (0.75, 0.25), smoothing 0.2
    # leaves 0.9 and 0.1: 0.9 * 0.287682 + 0.1 * 1.386294 = 0.397543
    logits = torch.tensor([[0.0, 0.0], [np.log(3), 0.0]], dtype=torch.float64)
    losses = label_smoothing_losses(logits, torch.tensor([0, 0]), smoothing=0.2)
    np.testing.assert_allclose(losses, [0.693147, 0.397543], atol=1e-6)


def test_gradient_is_the_prediction_minus_the_smoothed_label():
    logits = torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    label_smoothing_losses(logits, torch.tensor([2]), smoothing=0.3).sum().backward()
    expected = torch.softmax(logits.detach(), dim=1) - torch.tensor([[0.1, 0.1, 0.8]])
    torch.testing.assert_close(logits.grad, expected)


def test_no_smoothing_equals_plain_training_bit_for_bit(train, make_table):
    assert_equal_networks(train(LabelSmoothing(smoothing=0.0), make_table()), train(ERM(), make_table()))


def test_smoothing_keeps_logits_small_where_plain_training_lets_them_grow(train, make_table):
    examples = make_table()
    inputs = torch.from_numpy(examples.inputs)
    spread = {
        learner: float(train(learner, examples, epochs=60, learning_rate=0.1).models[0](inputs).detach().std())
        for learner in (LabelSmoothing(smoothing=0.3), ERM())
    }
    smoothed, plain = spread.values()
    assert smoothed < 0.7 * plain


@pytest.mark.parametrize("smoothing", [1.0, -0.1, float("nan")])
def test_settings_out_of_range_are_refused(smoothing):
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got"):
        LabelSmoothing(smoothing=smoothing)
