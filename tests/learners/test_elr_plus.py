from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from learners.averaging import average_weights
from learners.batch import Batch
from learners.evaluate import accuracy, predict_logits
from learners.methods.elr import elr_losses
from learners.methods.elr_plus import ELRPlus, elr_plus_losses, ramp
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from tests.learners.states import assert_close_networks, state_of

PLAIN = {"mixup_alpha": 0.0, "average_ramp": 0.0}


def test_the_ramp_by_hand():
    np.testing.assert_allclose([ramp(step, 40000.0) for step in (0, 20000, 40000)], [0.006738, 0.286505, 1], atol=1e-6)
    assert ramp(0, 0.0) == 1.0


def test_loss_against_another_networks_target_equals_that_of_elr():
    # logits (2, 1, 0), label 1 and target 0.3 p give 0.908865, as worked out for elr
    logits = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
    label, target = torch.tensor([1]), 0.3 * torch.softmax(logits, dim=1)
    found = elr_plus_losses(logits, one_hot(label, 3).double(), target, lam=3.0)
    np.testing.assert_allclose(found, [0.908865], atol=2e-6)
    np.testing.assert_allclose(found, elr_losses(logits, label, 0 * target, beta=0.7, lam=3.0)[0], atol=1e-9)


def test_averages_move_by_their_share_and_keep_their_own_buffers():
    one, other = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        one.weight.fill_(1.0)
        other.weight.fill_(3.0)
        other.running_mean.fill_(9.0)
    average_weights(one, other, 0.75)
    assert float(one.weight.detach()) == 1.5
    assert float(one.running_mean) == 0.0


def one_batch():
    return Batch(
        inputs=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        labels=torch.tensor([0, 1, 2]),
        positions=torch.tensor([2, 0, 1]),
        weights=torch.ones(3),
    )


def test_targets_come_from_the_other_networks_average():
    networks = nn.Linear(2, 3), nn.Linear(2, 3)
    batch = one_batch()
    state = state_of(*networks, num_examples=3, learning_rate=0.5)
    probs = [torch.softmax(network(batch.inputs), dim=1).detach() for network in networks]
    ELRPlus(beta=0.6, **PLAIN).step(state, batch)
    for name, other in (("elr_targets", 1), ("elr_targets_second", 0)):
        torch.testing.assert_close(state.buffers[name][batch.positions], 0.4 * probs[other])


def test_without_mixing_the_loss_is_elrs_with_the_other_networks_prediction():
    networks = nn.Linear(2, 3), nn.Linear(2, 3)
    batch = one_batch()
    state = state_of(*networks, num_examples=3)
    expected = []
    for network, other in (networks, networks[::-1]):
        target = torch.softmax(other(batch.inputs), dim=1).detach()
        logits = network(batch.inputs)
        agreement = (target * torch.softmax(logits, dim=1)).sum(1)
        expected.append(cross_entropy(logits, batch.labels, reduction="none") + 3.0 * torch.log(1 - agreement))
    report = ELRPlus(beta=0.0, average_decay=0.0, **PLAIN).step(state, batch)
    torch.testing.assert_close(report.losses, torch.stack(expected).detach().mean(0))


def test_mixing_keeps_at_least_half_of_each_example_and_uses_each_row_once():
    state = state_of(nn.Linear(2, 3), nn.Linear(2, 3))
    for step in range(20):
        state.step = step
        share, partners = ELRPlus().mixing(state, 7, 0)
        assert 0.5 <= share <= 1.0
        assert sorted(partners.tolist()) == list(range(7))
    assert ELRPlus().mixing(state, 7, 0)[0] != ELRPlus().mixing(state, 7, 1)[0]


def test_lam_0_without_mixing_trains_each_network_as_if_it_were_alone(train, make_table):
    ours = train(ELRPlus(lam=0.0, **PLAIN), make_table())
    assert_close_networks(ours, train(ERM(), make_table()), rtol=1e-5, atol=1e-6)


def test_an_average_without_memory_is_the_network_itself(train, make_table):
    state = train(ELRPlus(average_decay=0.0), make_table())
    for number, network in enumerate(state.models):
        for ours, theirs in zip(state.copies[f"average_{number}"].parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_network_with_batch_statistics_trains(train, make_images):
    examples = make_images()
    state = train(ELRPlus(), examples, model=SmallCNN(width=4, hidden=8), epochs=20, learning_rate=0.05)
    assert accuracy(predict_logits(state.models, examples), examples.labels) > 0.9


def test_elr_plus_keeps_the_truth_on_flipped_examples_that_plain_training_memorises(train, make_table):
    rng = np.random.default_rng(5)
    clean = np.arange(300) % 2
    flipped = rng.random(300) < 0.3
    examples = make_table(
        num_examples=300, num_classes=2, features=5, spread=0.6, labels=np.where(flipped, 1 - clean, clean)
    )
    recovered = []
    for learner in (ELRPlus(), ERM()):
        state = train(
            learner,
            examples,
            model=MLP(widths=(128, 128)),
            epochs=40,
            batch_size=32,
            learning_rate=0.05,
            weight_decay=0.0,
            schedule="constant",
        )
        recovered.append(accuracy(predict_logits(state.models, examples)[flipped], clean[flipped]))
    assert recovered[0] > 0.9
    assert recovered[0] > recovered[1] + 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ({"average_decay": 1.0}, r"average_decay must be in \[0, 1\)"),
        ({"lam": -1.0}, "lam must be at least 0, got -1.0"),
        ({"mixup_alpha": -1.0}, "mixup_alpha must be at least 0"),
        ({"lam_ramp": 1.5}, r"lam_ramp must be in \[0, 1\], got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(ELRPlus(), **settings)
