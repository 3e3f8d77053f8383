from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from learners.attacks import Attack
from learners.batch import Batch
from learners.methods.aaer import AAER, aaer_losses
from learners.methods.erm import ERM
from learners.methods.pgd_training import PGDTraining
from tests.learners.states import assert_equal_networks, state_of


def logits_with_losses(moves, losses):
    """Logits of two classes at the given points: a third class makes label 2's loss what it should be."""
    points = torch.tensor(moves, dtype=torch.float64)
    sums = points.exp().sum(dim=1)
    return torch.cat([points, (sums / (torch.tensor(losses, dtype=torch.float64).exp() - 1)).log()[:, None]], dim=1)


# Losses before (1, 0.5, 2, 0.8) and after (1.6, 0.3, 2.2, 0.5): the 2nd and the 4th fall, so |A| / B = 0.5
# and the mean fall is (0.2 + 0.3) / 2 = 0.25. With squared moves (2, 1.25, 1.25, 4) the regulariser would
# be 0.5 * (2.5 * 0.25 + 1.5 * (2.625 - 1.625)) = 1.0625; here the third logit moves as well.
BEFORE, AFTER = (1.0, 0.5, 2.0, 0.8), (1.6, 0.3, 2.2, 0.5)
START = logits_with_losses([(1.0, 0), (0, 1), (2, 0), (1, 1)], BEFORE)
MOVED = logits_with_losses([(0.0, 1), (0.5, 2), (1, 0.5), (3, 1)], AFTER)
LABELS = torch.full((4,), 2)


def regulariser(lam1=1.0, lam2=2.5, lam3=1.5, moved=MOVED):
    losses, abnormal = aaer_losses(START, moved, LABELS, lam1=lam1, lam2=lam2, lam3=lam3)
    return losses - cross_entropy(moved, LABELS, reduction="none"), abnormal


def test_the_losses_are_those_of_the_example():
    np.testing.assert_allclose(cross_entropy(START, LABELS, reduction="none"), BEFORE)
    np.testing.assert_allclose(cross_entropy(MOVED, LABELS, reduction="none"), AFTER)


def test_abnormal_examples_and_the_regulariser_by_hand():
    found, abnormal = regulariser()
    moves = ((MOVED - START)[:, :2] ** 2).sum(1)
    np.testing.assert_allclose(moves, [2, 1.25, 1.25, 4])
    third = ((MOVED - START)[:, 2] ** 2).numpy()
    excess = 1.0 + (third[1] + third[3]) / 2 - (third[0] + third[2]) / 2
    assert abnormal.tolist() == [False, True, False, True]
    assert excess > 0
    assert float(found.mean()) == pytest.approx(0.5 * (2.5 * 0.25 + 1.5 * excess))
    assert found[0] == found[2] == 0
    # without what the third logit adds, this is 0.5 * (0.625 + 1.5) = 1.0625
    assert float(found.mean()) - 0.75 * (excess - 1) == pytest.approx(1.0625)


def test_only_the_move_of_abnormal_examples_carries_gradient_without_lam2():
    # 2 / B * lam1 * lam3 * move = 0.75 * move: (0.375, 0.75) for the first two logits of the 2nd example
    moved = MOVED.clone().requires_grad_()
    regulariser(lam2=0.0, moved=moved)[0].mean().backward()
    np.testing.assert_allclose(moved.grad[1, :2], [0.375, 0.75])
    np.testing.assert_allclose(moved.grad[[1, 3]], 0.75 * (MOVED - START)[[1, 3]])
    np.testing.assert_allclose(moved.grad[[0, 2]], 0, atol=1e-12)


def test_the_fall_of_the_loss_carries_gradient_with_lam2():
    moved = MOVED.clone().requires_grad_()
    regulariser(lam2=2.0, lam3=0.0, moved=moved)[0].mean().backward()
    expected = torch.softmax(MOVED, dim=1) - torch.tensor([0.0, 0, 1])
    np.testing.assert_allclose(moved.grad[[1, 3]], (-2 / 4 * expected)[[1, 3]])


@pytest.mark.parametrize("rows", [[1, 3], [0, 2]], ids=("every loss fell", "no loss fell"))
def test_nothing_is_added_where_all_or_none_are_abnormal(rows):
    losses, _ = aaer_losses(START[rows], MOVED[rows], LABELS[rows], lam1=1.0, lam2=1.0, lam3=1.0)
    np.testing.assert_allclose(losses, np.array(AFTER)[rows])


def attacked(learner, network, inputs, labels):
    batch = Batch(inputs=inputs, labels=labels, positions=torch.arange(len(labels)), weights=torch.ones(len(labels)))
    return learner.attacked(state_of(network, num_examples=len(labels), num_classes=2), batch)


def test_a_linear_network_never_has_abnormal_examples():
    torch.manual_seed(0)
    network, inputs, labels = nn.Linear(5, 2), torch.rand(40, 5), torch.arange(40) % 2
    for learner in (AAER(epsilon=0.2), AAER(epsilon=0.2, start_range=2.0, step_range=1.0, clip=None)):
        moved, start_logits = attacked(learner, network, inputs, labels)
        _, abnormal = aaer_losses(start_logits, network(moved), labels, lam1=1.0, lam2=0.0, lam3=1.0)
        assert not abnormal.any()


def test_variants_stay_within_their_reach():
    torch.manual_seed(0)
    network, inputs, labels = nn.Linear(5, 2), torch.rand(40, 5), torch.arange(40) % 2
    moved, _ = attacked(AAER(epsilon=0.1, lower=0.0, upper=1.0), network, inputs, labels)
    assert (moved - inputs).abs().max() <= 0.1 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    noisy, _ = attacked(AAER(epsilon=0.1, start_range=2.0, step_range=1.0, clip=None), network, inputs, labels)
    assert 0.25 < (noisy - inputs).abs().max() <= 0.3 + 1e-6


def test_a_step_of_zero_stays_at_the_start_and_adds_nothing():
    network, inputs, labels = nn.Linear(5, 2), torch.rand(6, 5), torch.arange(6) % 2
    moved, start_logits = attacked(AAER(epsilon=0.2, step_range=0.0), network, inputs, labels)
    torch.testing.assert_close(network(moved), start_logits)


def test_a_radius_of_zero_equals_plain_training_bit_for_bit(train, make_table):
    assert_equal_networks(train(AAER(epsilon=0.0), make_table()), train(ERM(), make_table()))


def test_the_pull_on_abnormal_examples_equals_finite_differences():
    # the other rows stay as they are, and with them the usual move, which is held constant
    moved = MOVED[[1, 3]].clone().requires_grad_()

    def losses(values):
        logits = torch.stack([MOVED[0], values[0], MOVED[2], values[1]])
        return aaer_losses(START, logits, LABELS, lam1=0.7, lam2=2.5, lam3=1.5)[0]

    assert torch.autograd.gradcheck(losses, moved)


def test_equal_losses_are_normal():
    losses, abnormal = aaer_losses(START, START, LABELS, lam1=1.0, lam2=1.0, lam3=1.0)
    assert not abnormal.any()
    np.testing.assert_allclose(losses, BEFORE)


def test_lam1_0_equals_random_start_single_step_training_bit_for_bit(train, make_table):
    # a radius of 0.25 and a step of 0.3125 have no rounding; without batch statistics the mode of the attack is moot
    attack = Attack(epsilon=0.25, step_size=0.3125, num_steps=1, start="uniform")
    ours = train(AAER(epsilon=0.25, lam1=0.0), make_table())
    assert_equal_networks(ours, train(PGDTraining(attack=attack), make_table()))


def test_lam1_0_equals_single_step_training_whatever_the_other_weights(train, make_table):
    one, other = (train(AAER(epsilon=0.3, lam1=0.0, lam3=lam3), make_table()) for lam3 in (0.0, 9.0))
    assert_equal_networks(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": -1.0}, "epsilon must be at least 0, got -1.0"),
        ({"lam3": float("nan")}, "lam3 must be at least 0"),
        ({"clip": 0.0}, "clip must be above 0, got 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(AAER(), **settings)
