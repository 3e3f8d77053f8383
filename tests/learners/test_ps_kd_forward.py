import pytest
import torch
from torch import nn

from learners.batch import Batch
from learners.methods.erm import ERM
from learners.methods.ps_kd import ps_kd_losses
from learners.methods.ps_kd_forward import PSKDForward
from learners.models.small_cnn import SmallCNN
from tests.learners.states import assert_equal_networks, state_of


def test_the_teacher_is_the_network_at_the_end_of_the_last_epoch():
    network = nn.Linear(2, 3)
    state = state_of(network, learning_rate=0.5, num_examples=2, total_epochs=2)
    batch = Batch(
        inputs=torch.tensor([[1.0, 2.0], [0.5, -1.0]]),
        labels=torch.tensor([0, 2]),
        positions=torch.tensor([0, 1]),
        weights=torch.ones(2),
    )
    learner = PSKDForward(alpha=0.8)
    learner.step(state, batch)
    state.epoch = 1
    teacher = torch.softmax(network(batch.inputs), dim=1).detach()
    for _ in range(2):
        logits = network(batch.inputs).detach()
        report = learner.step(state, batch)
        torch.testing.assert_close(report.losses, ps_kd_losses(logits, batch.labels, teacher, share=0.8))
    assert not torch.allclose(teacher, torch.softmax(network(batch.inputs), dim=1))


def test_alpha_0_equals_plain_training_bit_for_bit(train, make_table):
    assert_equal_networks(train(PSKDForward(alpha=0.0), make_table()), train(ERM(), make_table()))


def test_the_first_epoch_equals_plain_training_bit_for_bit(train, make_images):
    model = SmallCNN(width=4, hidden=8)
    ours, plain = (train(learner, make_images(), model=model, epochs=1) for learner in (PSKDForward(alpha=0.9), ERM()))
    assert_equal_networks(ours, plain)


def test_the_teacher_learns_nothing_and_keeps_its_statistics(train, make_images):
    state = train(PSKDForward(), make_images(), model=SmallCNN(width=4, hidden=8), epochs=2)
    teacher = state.copies["teacher"]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert int(teacher.state_dict()["2.num_batches_tracked"]) == 3  # 40 examples in batches of 16, one epoch


@pytest.mark.parametrize("alpha", [1.1, -0.1, float("nan")])
def test_settings_out_of_range_are_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got"):
        PSKDForward(alpha=alpha)
