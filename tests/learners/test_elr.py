from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torch.nn.functional import cross_entropy

from learners.batch import Batch
from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.methods.elr import ELR, elr_losses, updated_targets
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.state import TrainState
from learners.training import Training

# Worked by hand for K = 3, logits (2, 1, 0), label 1, beta 0.7, lam 3, first visit:
# p = (0.665241, 0.244728, 0.090031), t = 0.3 p, cross entropy -log 0.244728 = 1.407606,
# <p, t> = 0.3 * (0.442545 + 0.059892 + 0.008106) = 0.153163, log(1 - 0.153163) = -0.166247,
# loss = 1.407606 + 3 * (-0.166247) = 0.908865.
LOGITS = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
LABEL = torch.tensor([1])
PROBS = np.array([0.665241, 0.244728, 0.090031])


def test_first_visit_gives_the_loss_and_target_worked_out_by_hand():
    losses, targets = elr_losses(LOGITS, LABEL, torch.zeros(1, 3, dtype=torch.float64), beta=0.7, lam=3.0)
    np.testing.assert_allclose(targets[0], [0.199572, 0.073419, 0.027009], atol=1e-6)
    np.testing.assert_allclose(losses, [0.908865], atol=2e-6)


def test_first_visit_gives_the_gradient_worked_out_by_hand():
    logits = LOGITS.clone().requires_grad_()
    losses, _ = elr_losses(logits, LABEL, torch.zeros(1, 3, dtype=torch.float64), beta=0.7, lam=3.0)
    losses.sum().backward()
    np.testing.assert_allclose(logits.grad[0], [0.555869, -0.686135, 0.130266], atol=2e-6)


def test_gradient_of_the_regulariser_alone_by_hand():
    # p_c (s - t_c) / (1 - s) with s = 0.153163: 0.665241 * (0.153163 - 0.199572) / 0.846837 = -0.036457
    logits = LOGITS.clone().requires_grad_()
    losses, _ = elr_losses(logits, LABEL, torch.zeros(1, 3, dtype=torch.float64), beta=0.7, lam=1.0)
    (losses - cross_entropy(logits, LABEL, reduction="none")).sum().backward()
    np.testing.assert_allclose(logits.grad[0], [-0.036457, 0.023045, 0.013412], atol=1e-6)


def test_second_visit_of_the_same_prediction_gives_051_of_it():
    _, once = elr_losses(LOGITS, LABEL, torch.zeros(1, 3, dtype=torch.float64), beta=0.7, lam=3.0)
    _, twice = elr_losses(LOGITS, LABEL, once, beta=0.7, lam=3.0)
    np.testing.assert_allclose(twice[0], [0.339273, 0.124812, 0.045916], atol=1e-6)
    np.testing.assert_allclose(twice[0], 0.51 * PROBS, atol=1e-6)


def test_regulariser_alone_matches_the_detection_example_worked_by_hand():
    # p = (0.6, 0.3, 0.1): t = (0.18, 0.09, 0.03), <p, t> = 0.108 + 0.027 + 0.003 = 0.138, log 0.862 = -0.148500
    logits = torch.log(torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)).requires_grad_()
    losses, targets = elr_losses(logits, LABEL, torch.zeros(1, 3, dtype=torch.float64), beta=0.7, lam=1.0)
    regulariser = losses - cross_entropy(logits, LABEL, reduction="none")
    regulariser.sum().backward()
    np.testing.assert_allclose(targets[0], [0.18, 0.09, 0.03], atol=1e-9)
    np.testing.assert_allclose(regulariser.detach(), [-0.148500], atol=1e-6)
    np.testing.assert_allclose(logits.grad[0], [-0.029234, 0.016705, 0.012529], atol=1e-6)


def test_saturated_agreement_costs_no_more_than_the_clamp_allows():
    # p = t = the clamped one-hot of K = 10: 1 - (0.9999^2 + 9e-8) = 0.0001999..; with the target
    # renormalised by 1.0008: <p, t> = (0.9999^2 + 9e-8) / 1.0008 = 0.999000..., log 0.0009993 = -6.908655
    logits = torch.zeros(1, 10, dtype=torch.float64)
    logits[0, 0] = 1e3
    clamped = torch.full((1, 10), 1e-4, dtype=torch.float64)
    clamped[0, 0] = 1 - 1e-4
    target = clamped / clamped.sum()
    losses, _ = elr_losses(logits, torch.tensor([0]), target, beta=0.7, lam=1.0)
    np.testing.assert_allclose(losses, [-6.908655], atol=1e-5)


ROWS = arrays(np.float64, (4, 5), elements=st.floats(-3, 3))


@settings(max_examples=30, deadline=None)
@given(ROWS, arrays(np.float64, (4, 5), elements=st.floats(0, 0.2)), st.floats(0, 0.95), st.floats(0, 7))
def test_gradient_equals_the_paper_formula_and_sums_to_zero(values, before, beta, lam):
    logits = torch.from_numpy(values).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3])
    losses, targets = elr_losses(logits, labels, torch.from_numpy(before), beta=beta, lam=lam)
    losses.sum().backward()
    expected = np.zeros((4, 5))
    for row in range(4):
        p = np.exp(values[row]) / np.exp(values[row]).sum()
        t = beta * before[row] + (1 - beta) * p
        agreement = p @ t
        for k in range(5):
            expected[row, k] = p[k] - (k == row) + lam * p[k] * (agreement - t[k]) / (1 - agreement)
    np.testing.assert_allclose(logits.grad, expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(logits.grad.sum(1), 0, atol=1e-9)
    assert not targets.requires_grad


@settings(max_examples=30, deadline=None)
@given(ROWS, st.floats(-5, 5))
def test_adding_a_constant_to_all_logits_changes_nothing(values, constant):
    labels, before = torch.tensor([0, 1, 2, 3]), torch.full((4, 5), 0.1, dtype=torch.float64)
    one, _ = elr_losses(torch.from_numpy(values), labels, before, beta=0.7, lam=3.0)
    other, _ = elr_losses(torch.from_numpy(values + constant), labels, before, beta=0.7, lam=3.0)
    np.testing.assert_allclose(one, other, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(arrays(np.float64, 4, elements=st.floats(-20, 20)), min_size=1, max_size=6), st.floats(0, 0.99))
def test_target_rows_sum_to_one_minus_beta_to_the_visits(visits, beta):
    target = torch.zeros(1, 4, dtype=torch.float64)
    for logits in visits:
        probs = torch.softmax(torch.from_numpy(logits)[None], dim=1).clamp(1e-4, 1 - 1e-4)
        target = updated_targets(probs, target, beta=beta)
    np.testing.assert_allclose(target.sum(), 1 - beta ** len(visits), atol=1e-12)
    assert ((target >= 0) & (target <= 1)).all()


def one_batch_state(num_examples, num_classes, network):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    return TrainState(
        models=[network],
        optimizers=[optimizer],
        schedulers=[torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)],
        num_examples=num_examples,
        num_classes=num_classes,
        total_epochs=1,
        total_steps=1,
        identity={},
    )


def test_order_of_the_data_does_not_change_the_targets_of_a_frozen_network():
    torch.manual_seed(0)
    network, inputs, labels = nn.Linear(3, 4), torch.randn(10, 3), torch.arange(10) % 4
    found = []
    for order in (torch.arange(10), torch.tensor([7, 2, 9, 0, 4, 1, 8, 3, 6, 5])):
        state = one_batch_state(10, 4, network)
        for positions in order.split(3):
            batch = Batch(
                inputs=inputs[positions],
                labels=labels[positions],
                positions=positions,
                weights=torch.ones(len(positions)),
            )
            ELR().step(state, batch)
        found.append(state.buffers["elr_targets"])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-7)
    assert not torch.allclose(found[0], found[0].flip(0))


def test_weights_scale_both_terms_and_leave_the_target_alone():
    torch.manual_seed(0)
    inputs, labels, weights = torch.randn(4, 3), torch.tensor([0, 1, 2, 3]), torch.tensor([2.0, 0.5, 1.0, 3.0])
    network = nn.Linear(3, 4)
    state = one_batch_state(4, 4, network)
    before = torch.full((4, 4), 0.2)
    state.buffers["elr_targets"] = before.clone()
    ELR().step(state, Batch(inputs=inputs, labels=labels, positions=torch.arange(4), weights=weights))
    found = network.weight.grad.clone()
    network.zero_grad()
    losses, targets = elr_losses(network(inputs), labels, before, beta=0.7, lam=3.0)
    (sum(w * loss for w, loss in zip(weights, losses, strict=True)) / 4).backward()
    torch.testing.assert_close(found, network.weight.grad)
    torch.testing.assert_close(state.buffers["elr_targets"], targets)


def trained(learner, examples, seed=3, **settings):
    training = Training(epochs=3, batch_size=16, **settings)
    for report in fit(learner, examples, model=MLP(widths=(8,)), training=training, seed=seed):
        last = report
    return last.state


def test_lam_0_equals_plain_training_bit_for_bit(make_table):
    examples = make_table()
    elr, erm = trained(ELR(lam=0.0), examples), trained(ERM(), examples)
    for one, other in zip(elr.models[0].parameters(), erm.models[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_every_visited_row_sums_to_one_minus_beta_to_the_epochs_and_others_stay_zero(make_table):
    weights = np.ones(60, np.float32)
    weights[::7] = 0
    targets = trained(ELR(beta=0.6), make_table(weights=weights)).buffers["elr_targets"]
    np.testing.assert_allclose(targets.sum(1)[weights > 0], 1 - 0.6**3, atol=1e-5)
    assert (targets[weights == 0] == 0).all()


def test_elr_keeps_the_truth_on_flipped_examples_that_plain_training_memorises(make_table):
    rng = np.random.default_rng(5)
    clean = np.arange(300) % 2
    flipped = rng.random(300) < 0.4
    examples = make_table(
        num_examples=300, num_classes=2, features=5, spread=0.6, labels=np.where(flipped, 1 - clean, clean)
    )
    training = Training(epochs=100, batch_size=32, learning_rate=0.05, weight_decay=0.0, schedule="constant")
    recovered = {}
    for learner in (ERM(), ELR()):
        for report in fit(learner, examples, model=MLP(widths=(128, 128)), training=training, seed=1):
            state = report.state
        logits = predict_logits(state.models, examples)
        recovered[type(learner)] = accuracy(logits[flipped], clean[flipped])
    assert recovered[ELR] > 0.9
    assert recovered[ERM] < 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ({"beta": -0.1}, r"beta must be in \[0, 1\)"),
        ({"lam": -1.0}, "lam must be at least 0, got -1.0"),
        ({"lam": float("nan")}, "lam must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(ELR(), **settings)
