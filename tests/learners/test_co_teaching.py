from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from learners.batch import Batch
from learners.evaluate import accuracy, predict_logits
from learners.methods.co_teaching import CoTeaching, smallest_rows
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from tests.learners.states import assert_equal_networks, state_of


def test_small_losses_are_chosen_by_hand():
    assert smallest_rows(torch.tensor([0.1, 2.0, 0.3, 1.0]), 0.5).tolist() == [0, 2]


@pytest.mark.parametrize(("size", "forget", "kept"), [(160, 0.2, 128), (224, 0.3, 156), (5, 0.8, 1), (3, 0.99, 1)])
def test_the_number_kept_is_rounded_down_but_never_to_zero(size, forget, kept):
    assert len(smallest_rows(torch.rand(size), forget)) == kept


def test_ties_go_to_the_lower_row():
    assert smallest_rows(torch.ones(4), 0.5).tolist() == [0, 1]


def test_each_network_descends_on_the_rows_the_other_chose():
    inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0]])
    labels = torch.tensor([0, 1, 2, 0])
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    losses = [cross_entropy(network(inputs), labels, reduction="none") for network in (first, second)]
    rows = [torch.topk(one, 2, largest=False).indices for one in losses]
    expected = [
        torch.autograd.grad(cross_entropy(network(inputs[chosen]), labels[chosen]), network.weight)[0]
        for network, chosen in ((first, rows[1]), (second, rows[0]))
    ]
    state = state_of(first, second, num_examples=4, epoch=10)
    batch = Batch(inputs=inputs, labels=labels, positions=torch.arange(4), weights=torch.ones(4))
    report = CoTeaching(forget_rate=0.5).step(state, batch)
    for network, gradient in zip((first, second), expected, strict=True):
        torch.testing.assert_close(network.weight.grad, gradient)
    assert report.metrics == {"kept": 0.5}


def test_forgetting_nothing_trains_each_network_as_if_it_were_alone(train, make_table):
    assert_equal_networks(train(CoTeaching(forget_rate=0.0), make_table()), train(ERM(), make_table()))


def test_the_first_epoch_leaves_nothing_out(train, make_table):
    together = train(CoTeaching(forget_rate=0.5), make_table(), epochs=1)
    assert_equal_networks(together, train(ERM(), make_table(), epochs=1))


def test_co_teaching_keeps_the_truth_on_flipped_examples_that_plain_training_memorises(train, make_table):
    rng = np.random.default_rng(5)
    clean = np.arange(300) % 2
    flipped = rng.random(300) < 0.3
    examples = make_table(
        num_examples=300, num_classes=2, features=5, spread=0.6, labels=np.where(flipped, 1 - clean, clean)
    )
    recovered = []
    for learner in (CoTeaching(forget_rate=0.3, warmup_epochs=5), ERM()):
        state = train(
            learner,
            examples,
            model=MLP(widths=(128, 128)),
            epochs=60,
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
        ({"forget_rate": 1.0}, r"forget_rate must be in \[0, 1\), got 1.0"),
        ({"forget_rate": float("nan")}, "forget_rate must be in"),
        ({"warmup_epochs": 0}, "warmup_epochs must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(CoTeaching(), **settings)
