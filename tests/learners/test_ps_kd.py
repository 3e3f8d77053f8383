import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from learners.batch import Batch
from learners.methods.erm import ERM
from learners.methods.ps_kd import PSKD, ps_kd_losses
from learners.self_distillation import blended_targets, share_of_past
from tests.learners.states import assert_equal_networks, state_of

# Label 0 of three, past (0.5, 0.3, 0.2), share 0.4: target 0.6 * (1, 0, 0) + 0.4 * past = (0.80, 0.12, 0.08).
# Logits (1, 0.5, -0.5): softmax (0.546549, 0.331499, 0.121952), loss 0.784131, gradient softmax - target.
PAST = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
LOGITS = torch.tensor([[1.0, 0.5, -0.5]], dtype=torch.float64)
LABEL = torch.tensor([0])


def test_target_loss_and_gradient_worked_out_by_hand():
    logits = LOGITS.clone().requires_grad_()
    losses = ps_kd_losses(logits, LABEL, PAST, share=0.4)
    losses.sum().backward()
    np.testing.assert_allclose(blended_targets(LABEL, PAST, share=0.4), [[0.80, 0.12, 0.08]])
    np.testing.assert_allclose(losses.detach(), [0.784131], atol=1e-6)
    np.testing.assert_allclose(logits.grad, [[-0.253451, 0.211499, 0.041952]], atol=1e-6)


def test_gradient_is_rescaled_by_the_ratio_of_errors_as_the_paper_says():
    # |gradient| relative to plain training is 1 - 0.4 * 0.5 / 0.453451 = 0.558938; this holds while the share is at
    # most the least ratio of wrong classes' probabilities, 0.121952 / 0.2 = 0.60976
    sizes = []
    for share in (0.4, 0.0):
        logits = LOGITS.clone().requires_grad_()
        ps_kd_losses(logits, LABEL, PAST, share=share).sum().backward()
        sizes.append(float(logits.grad.abs().sum()))
    np.testing.assert_allclose(sizes[0] / sizes[1], 0.558938, atol=1e-6)


def test_share_of_the_past_follows_the_published_schedule():
    found = [share_of_past(0.8, epoch, 300) for epoch in (0, 149, 299)]
    np.testing.assert_allclose(found, [0.002667, 0.4, 0.8], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(-6, 6)), st.floats(0, 1))
def test_targets_are_probabilities_and_the_label_wins_below_one_half(values, share):
    labels = torch.tensor([0, 3, 1])
    targets = blended_targets(labels, torch.softmax(torch.from_numpy(values), dim=1), share=share)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-12)
    assert (targets >= 0).all()
    if share < 0.49:
        assert torch.equal(targets.argmax(1), labels)


def test_an_example_without_a_past_has_its_label_as_target():
    torch.testing.assert_close(blended_targets(LABEL, torch.zeros(1, 3), share=0.7), torch.tensor([[1.0, 0.0, 0.0]]))


def test_the_second_visit_reads_the_first_visits_prediction_and_not_its_own():
    network = nn.Linear(2, 3)
    state = state_of(network, learning_rate=1.0, num_examples=2, total_epochs=2, total_steps=2)
    batch = Batch(
        inputs=torch.tensor([[1.0, 2.0], [0.5, -1.0]]),
        labels=torch.tensor([0, 2]),
        positions=torch.tensor([0, 1]),
        weights=torch.ones(2),
    )
    first = torch.softmax(network(batch.inputs), dim=1).detach()
    PSKD().step(state, batch)
    torch.testing.assert_close(state.buffers["ps_kd_targets"], first)
    state.epoch = 1
    logits = network(batch.inputs).detach()
    report = PSKD().step(state, batch)
    torch.testing.assert_close(report.losses, ps_kd_losses(logits, batch.labels, first, share=0.8))
    assert not torch.allclose(first, torch.softmax(logits, dim=1))


def test_alpha_0_equals_plain_training_bit_for_bit(train, make_table):
    assert_equal_networks(train(PSKD(alpha=0.0), make_table()), train(ERM(), make_table()))


def test_the_first_epoch_equals_plain_training_bit_for_bit(train, make_table):
    assert_equal_networks(train(PSKD(alpha=0.9), make_table(), epochs=1), train(ERM(), make_table(), epochs=1))


def test_later_epochs_differ_from_plain_training(train, make_table):
    with pytest.raises(AssertionError):
        assert_equal_networks(train(PSKD(), make_table()), train(ERM(), make_table()))


def test_examples_of_weight_0_keep_a_row_of_zeros(train, make_table):
    weights = np.ones(60, np.float32)
    weights[::7] = 0
    targets = train(PSKD(), make_table(weights=weights)).buffers["ps_kd_targets"]
    assert (targets[weights == 0] == 0).all()
    np.testing.assert_allclose(targets[weights > 0].sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("alpha", [1.1, -0.1, float("nan")])
def test_settings_out_of_range_are_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got"):
        PSKD(alpha=alpha)
