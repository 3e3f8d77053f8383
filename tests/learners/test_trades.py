import math

import numpy as np
import pytest
import torch

from learners.attacks import Attack
from learners.evaluate import accuracy
from learners.methods.erm import ERM
from learners.methods.trades import TRADES, trades_losses
from learners.models.mlp import MLP
from learners.robustness import adversarial_logits
from tests.learners.states import assert_close_networks, assert_equal_networks
from tests.learners.test_pgd_training import brittle_and_steady


def test_loss_worked_out_by_hand():
    # clean p = (0.75, 0.25), attacked p = (0.5, 0.5), label 0, beta 6:
    # 0.287682 + 6 * (0.75 log 1.5 + 0.25 log 0.5) = 0.287682 + 6 * 0.130812 = 1.072554
    clean, moved = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    np.testing.assert_allclose(trades_losses(clean, moved, torch.tensor([0]), beta=6.0), [1.072554], atol=1e-6)


def test_beta_0_equals_plain_training(train, make_table):
    assert_equal_networks(train(TRADES(beta=0.0), make_table()), train(ERM(), make_table()))


def test_a_radius_of_zero_equals_plain_training_up_to_rounding(train, make_table):
    trades = train(TRADES(attack=Attack(epsilon=0.0, start="zero")), make_table())
    assert_close_networks(trades, train(ERM(), make_table()), atol=1e-5, rtol=1e-4)


def test_trades_stands_an_attack_that_turns_plain_training_round(train):
    examples = brittle_and_steady()
    attack = Attack(epsilon=0.3, step_size=0.1, num_steps=7)
    learner = TRADES(attack=Attack(epsilon=0.3, step_size=0.1, num_steps=7, start="gaussian"))
    models = train(learner, examples, model=MLP(widths=()), epochs=15, batch_size=32, learning_rate=0.1).models
    assert accuracy(adversarial_logits(models, examples, attack), examples.labels) > 0.85


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"beta must be at least 0, got -1.0"):
        TRADES(beta=-1.0)
    with pytest.raises(ValueError, match=r"attack\.start must be uniform or gaussian for trades, got 'zero'"):
        TRADES(attack=Attack(start="zero"))
