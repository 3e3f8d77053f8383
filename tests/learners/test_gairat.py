import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.attacks import Attack
from learners.methods.gairat import GAIRAT, gairat_losses, gairat_weights
from learners.methods.pgd_training import PGDTraining
from tests.learners.states import assert_equal_networks


def test_weights_of_ten_steps_by_hand():
    # (tanh(-1 + 5 * (1 - stood / 5)) + 1) / 2
    found = gairat_weights(torch.tensor([0, 4, 5, 10], dtype=torch.float64), num_steps=10, lam=-1.0)
    np.testing.assert_allclose(found, [0.999665, 0.5, 0.119203, 0.000006], atol=1e-6)


def test_losses_are_weighted_to_mean_one():
    # equal logits of K = 2 cost log 2 each; weights 0.5 and 1.5 of mean 1, and the same twice as large
    logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    for scale in (1.0, 2.0):
        losses = gairat_losses(logits, labels, scale * torch.tensor([0.5, 1.5]))
        np.testing.assert_allclose(losses, [0.5 * math.log(2), 1.5 * math.log(2)], rtol=1e-6)


def test_an_unbounded_shift_equals_adversarial_training_bit_for_bit(train, make_table):
    attack = Attack(epsilon=0.3, step_size=0.1)
    ours = train(GAIRAT(lam=math.inf, burn_in=0.0, attack=attack), make_table())
    assert_equal_networks(ours, train(PGDTraining(attack=attack), make_table()))


def test_the_first_half_of_the_epochs_equals_adversarial_training(train, make_table):
    attack = Attack(epsilon=0.3, step_size=0.1)
    ours = train(GAIRAT(burn_in=0.5, attack=attack), make_table(), epochs=1)
    assert_equal_networks(ours, train(PGDTraining(attack=attack), make_table(), epochs=1))


def test_examples_near_the_boundary_gain_weight(train, make_table):
    examples = make_table(num_examples=120, num_classes=2, spread=1.5)
    attack = Attack(epsilon=0.5, step_size=0.1)
    state = train(GAIRAT(burn_in=0.0, attack=attack), examples, epochs=10)
    weights = state.buffers["dro_weights"][:, 0]
    margins = state.buffers["adversarial_margins"][:, 0]
    assert weights[margins < 0].mean() > 2 * weights[margins > margins.median()].mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"burn_in": 1.0}, r"burn_in must be in \[0, 1\), got 1.0"),
        ({"lam": float("nan")}, "lam must be above -inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(GAIRAT(), **settings)
