import pytest
import torch
from torch import nn

from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.methods.co_teaching import CoTeaching
from learners.methods.dro_irat import DROIRAT
from learners.methods.elr import ELR
from learners.methods.elr_plus import ELRPlus
from learners.methods.erm import ERM
from learners.methods.ps_kd_forward import PSKDForward
from learners.models.small_cnn import SmallCNN
from learners.sharpness import climb, go_back
from learners.steps import take_step
from tests.learners.states import assert_close_networks, assert_equal_networks, state_of


class Squared(Learner):
    """Loss 0.5 * x^2 * |w|^2 of each example."""

    def step(self, state, batch):
        losses = 0.5 * batch.inputs[:, 0] ** 2 * (state.models[0].weight ** 2).sum()
        state.per_example("losses", width=1)[batch.positions] = losses.detach()[:, None]
        state.per_example("visits", width=1)[batch.positions] += 1
        state.vector("visits", size=1)[0] += 1
        state.descend(losses, batch.weights)
        return StepReport(losses=losses.detach(), logits=torch.zeros(len(batch), 3))


def one_batch(size=2):
    return Batch(
        inputs=torch.ones(size, 1),
        labels=torch.zeros(size, dtype=torch.int64),
        positions=torch.arange(size),
        weights=torch.ones(size),
    )


def weighing(*values, radius):
    network = nn.Linear(len(values), 1, bias=False)
    network.weight.data = torch.tensor([values])
    state = state_of(network, learning_rate=0.5)
    state.descent.sam_radius = radius
    return state


def test_a_step_is_the_one_worked_out_by_hand():
    # loss |w|^2 / 2 at (3, 4): gradient (3, 4), length 5; climb by 1: (3.6, 4.8); gradient there (3.6, 4.8);
    # descend from (3, 4) by half of it: (1.2, 1.6)
    state = weighing(3.0, 4.0, radius=1.0)
    take_step(Squared(), state, [one_batch()], [2])
    torch.testing.assert_close(state.models[0].weight.data, torch.tensor([[1.2, 1.6]]))


def test_memories_and_the_report_are_those_of_the_weights_before_the_climb():
    state = weighing(3.0, 4.0, radius=1.0)
    report = take_step(Squared(), state, [one_batch()], [2])
    assert report.losses.tolist() == pytest.approx([12.5, 12.5])
    assert state.buffers["losses"][:2, 0].tolist() == pytest.approx([12.5, 12.5])
    assert state.buffers["visits"][:3, 0].tolist() == [1, 1, 0]
    assert state.vectors["visits"].item() == 1


def test_parts_climb_together():
    whole, parts = weighing(3.0, 4.0, radius=1.0), weighing(3.0, 4.0, radius=1.0)
    take_step(Squared(), whole, [one_batch(2)], [2])
    second = one_batch(1)
    take_step(Squared(), parts, [one_batch(1), second], [1, 1])
    torch.testing.assert_close(whole.models[0].weight.data, parts.models[0].weight.data)


def test_going_back_undoes_a_climb_bit_for_bit():
    network = nn.Linear(3, 2)
    network(torch.rand(4, 3)).sum().backward()
    before = [one.detach().clone() for one in network.parameters()]
    kept = climb(network, 0.7)
    moved = torch.cat([(one - old).flatten() for one, old in zip(network.parameters(), before, strict=True)])
    assert float(moved.detach().norm()) == pytest.approx(0.7, rel=1e-5)
    go_back(network, kept)
    assert all(torch.equal(one, old) for one, old in zip(network.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "learner", [ERM(), ELR(), ELRPlus(), CoTeaching(), PSKDForward(), DROIRAT()], ids=lambda one: type(one).__name__
)
def test_a_radius_near_0_trains_as_sgd(train, make_table, learner):
    plain = train(learner, make_table())
    sharp = train(learner, make_table(), optimizer="sam", sam_radius=1e-9)
    for model in range(learner.num_models):
        assert_close_networks(plain, sharp, model, rtol=1e-3, atol=1e-5)
    for name, buffer in plain.buffers.items():
        torch.testing.assert_close(sharp.buffers[name], buffer, rtol=1e-3, atol=1e-4)


def test_statistics_of_batch_normalisation_move_once_a_step(train, make_images):
    plain, sharp = (
        train(ERM(), make_images(), model=SmallCNN(width=2, hidden=4), epochs=1, batch_size=40, optimizer=name)
        for name in ("sgd", "sam")
    )
    for one, other in zip(plain.models[0].buffers(), sharp.models[0].buffers(), strict=True):
        assert torch.equal(one, other)


def test_a_usual_radius_trains_otherwise_than_sgd(train, make_table):
    with pytest.raises(AssertionError):
        assert_equal_networks(train(ERM(), make_table()), train(ERM(), make_table(), optimizer="sam"))
