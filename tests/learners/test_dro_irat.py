import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch.nn.functional import cross_entropy

from learners.attacks import Attack, Region
from learners.batch import Batch
from learners.log_barrier import barrier_solution, implicit_losses
from learners.methods.dro_irat import DROIRAT, dro_weights, updated_log_mean
from learners.methods.pgd_training import PGDTraining
from learners.models.mlp import MLP
from learners.reweighting import effective_share
from tests.learners.states import assert_close_networks, assert_equal_networks, state_of

LOSSES = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
ONES = torch.ones(3, dtype=torch.float64)
FRESH = torch.tensor(-math.inf, dtype=torch.float64)


def batch_weights(losses, r):
    log_mean = updated_log_mean(losses, torch.ones_like(losses), FRESH, r=r, eta=1.0)
    return dro_weights(losses, log_mean, r=r), float(r * log_mean)


@pytest.mark.parametrize(
    ("r", "shares", "objective"),
    [
        (1.0, (0.050838, 0.113143, 0.836019), 2.080492),
        (10.0, (0.293564, 0.318014, 0.388423), 1.470487),
        (1000.0, None, 1.400693),
        (0.1, None, 2.890139),
    ],
)
def test_weights_and_objective_by_hand(r, shares, objective):
    # r = 1: exp(0.2), e, exp(3) = 1.221403, 2.718282, 20.085537, sum 24.025222; log of a third of it 2.080492
    weights, found = batch_weights(LOSSES, r)
    assert found == pytest.approx(objective, abs=1e-6)
    if shares:
        np.testing.assert_allclose(weights / 3, shares, atol=1e-6)
    w = weights.numpy() / 3
    assert w @ LOSSES.numpy() - r * entropy(w, np.full(3, 1 / 3)) == pytest.approx(found)


def test_effective_number_of_examples_and_divergence_by_hand():
    weights, _ = batch_weights(LOSSES, 1.0)
    assert 3 * effective_share(weights) == pytest.approx(1.399946, abs=1e-6)
    assert entropy(weights.numpy() / 3, np.full(3, 1 / 3)) == pytest.approx(0.550875, abs=1e-6)
    milder, _ = batch_weights(LOSSES, 5.0)
    assert entropy(milder.numpy() / 3, np.full(3, 1 / 3)) == pytest.approx(0.029131, abs=1e-6)


def test_the_moving_average_by_hand():
    # exp(0.2) and e have mean 1.969842; 0.9 * 1 + 0.1 * 1.969842 = 1.096984, log 0.092565
    losses = torch.tensor([0.2, 1.0], dtype=torch.float64)
    log_mean = updated_log_mean(losses, torch.ones(2, dtype=torch.float64), torch.zeros(()).double(), r=1.0, eta=0.1)
    assert float(log_mean) == pytest.approx(0.092565, abs=1e-6)
    np.testing.assert_allclose(dro_weights(losses, log_mean, r=1.0) / 2, [0.556709, 1.238979], atol=1e-6)


def test_large_losses_do_not_overflow():
    weights, objective = batch_weights(torch.tensor([0.0, 5000.0], dtype=torch.float64), 1.0)
    np.testing.assert_allclose(weights, [0.0, 2.0])
    assert objective == pytest.approx(5000 - math.log(2))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=6), st.floats(0.2, 20), st.floats(-3, 3))
def test_the_objective_lies_between_mean_and_maximum_and_weights_ignore_a_shift(values, r, shift):
    losses = torch.tensor(values, dtype=torch.float64)
    weights, objective = batch_weights(losses, r)
    moved, moved_objective = batch_weights(losses + shift, r)
    assert float(losses.mean()) - 1e-9 <= objective <= float(losses.max()) + 1e-9
    np.testing.assert_allclose(weights, moved, rtol=1e-9)
    assert moved_objective == pytest.approx(objective + shift, abs=1e-9)
    assert float(weights.mean()) == pytest.approx(1.0)


def test_weights_give_the_gradient_of_the_objective():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    losses = cross_entropy(logits, labels, reduction="none")
    objective = 0.7 * (torch.logsumexp(losses / 0.7, dim=0) - math.log(4))
    (expected,) = torch.autograd.grad(objective, logits, retain_graph=True)
    weights, _ = batch_weights(losses.detach(), 0.7)
    (found,) = torch.autograd.grad((weights * losses).mean(), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("strength", "point", "correction", "total"),
    [(0.1, 0.904988, 0.090050, 0.995037), (0.01, 0.990050, 0.009900, 0.999950)],
)
def test_barrier_and_implicit_gradient_in_one_dimension_by_hand(strength, point, correction, total):
    # loss theta * delta on [-1, 1] at theta = 1: delta = -c + sqrt(c^2 + 1), and the derivative of
    # theta * delta(theta) is theta / sqrt(c^2 + theta^2)
    theta = torch.ones((), dtype=torch.float64, requires_grad=True)
    edge = torch.ones(1, 1, dtype=torch.float64)
    box = Region(centre=0 * edge, low=-edge, high=edge, scale=torch.ones(()))
    inputs, curvature = barrier_solution(box, theta.detach() * edge, strength)
    assert float(inputs) == pytest.approx(point, abs=1e-6)
    inputs.requires_grad_()
    losses = (theta * inputs)[:, 0]
    (found,) = torch.autograd.grad(implicit_losses(losses, inputs, curvature, strength=strength).sum(), theta)
    assert float(found) == pytest.approx(total, abs=1e-6)
    assert float(found) - point == pytest.approx(correction, abs=2e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5), st.floats(-1, 0), st.floats(0.01, 1), st.floats(0.05, 2))
def test_the_barrier_solution_is_the_best_of_a_fine_grid(gradient, low, width, strength):
    edges = [torch.full((1, 1), value, dtype=torch.float64) for value in (low, low + width)]
    box = Region(centre=edges[0], low=edges[0], high=edges[1], scale=torch.ones(()))
    inputs, curvature = barrier_solution(box, torch.full((1, 1), gradient, dtype=torch.float64), strength)
    grid = np.linspace(low, low + width, 2003)[1:-1]
    values = gradient * grid + strength * (np.log(low + width - grid) + np.log(grid - low))
    assert float(inputs) == pytest.approx(grid[values.argmax()], abs=2 * width / 2002)
    x = float(inputs)
    assert float(curvature) == pytest.approx(1 / (low + width - x) ** 2 + 1 / (x - low) ** 2, rel=1e-6)


def test_an_unbounded_r_equals_adversarial_training_bit_for_bit(train, make_table):
    weights = np.linspace(0.5, 2.0, 60).astype(np.float32)
    examples = make_table(weights=weights)
    attack = Attack(epsilon=0.3, step_size=0.1)
    ours, plain = (
        train(learner, examples) for learner in (DROIRAT(r=math.inf, attack=attack), PGDTraining(attack=attack))
    )
    assert_equal_networks(ours, plain)
    assert torch.equal(ours.buffers["dro_weights"], torch.ones(60, 1))


def test_a_large_r_is_close_to_adversarial_training_and_a_small_one_is_not(train, make_table):
    examples = make_table()
    plain = train(PGDTraining(), examples)
    assert_close_networks(train(DROIRAT(r=1e6), examples), plain, rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError):
        assert_close_networks(train(DROIRAT(r=0.5), examples), plain, rtol=1e-4, atol=1e-5)


def test_the_implicit_form_approaches_the_first_order_one_as_the_barrier_falls(train, make_table):
    examples = make_table()
    attack = Attack(epsilon=0.3, step_size=0.1)
    first = train(DROIRAT(attack=attack), examples, epochs=1)
    tight = train(DROIRAT(attack=attack, barrier=1e-6), examples, epochs=1)
    loose = train(DROIRAT(attack=attack, barrier=0.5), examples, epochs=1)
    assert_close_networks(tight, first, rtol=1e-2, atol=1e-3)
    with pytest.raises(AssertionError):
        assert_close_networks(loose, first, rtol=1e-2, atol=1e-3)


def test_the_tracked_mean_follows_r_as_it_falls():
    learner = DROIRAT(r=1.0, initial_r=4.0, eta=1e-9)
    state = state_of(torch.nn.Linear(2, 3), total_steps=3)
    batch = Batch(inputs=torch.zeros(3, 2), labels=torch.arange(3), positions=torch.arange(3), weights=torch.ones(3))
    learner.weights(state, batch, LOSSES)
    level = 4.0 * float(state.vectors["dro_log_mean"][0])
    for step, r in ((1, 2.0), (2, 1.0)):
        state.step = step
        assert learner.temperature(state) == pytest.approx(r)
        learner.weights(state, batch, LOSSES)
        assert r * float(state.vectors["dro_log_mean"][0]) == pytest.approx(level, rel=1e-6)


def test_last_and_mean_weights_of_each_example_are_kept(make_table):
    examples = make_table(num_examples=6)
    state = state_of(MLP(widths=()).build(examples, 0), num_examples=6, learning_rate=0.1, total_steps=2)
    batch = Batch(
        inputs=torch.from_numpy(examples.inputs[:4]),
        labels=torch.from_numpy(examples.labels[:4]),
        positions=torch.arange(4),
        weights=torch.ones(4),
    )
    seen = []
    for step in range(2):
        state.step = step
        DROIRAT(r=0.5).step(state, batch)
        seen.append(state.buffers["dro_weights"].clone())
    torch.testing.assert_close(state.buffers["dro_mean_weights"], (seen[0] + seen[1]) / 2)
    assert (state.buffers["dro_weights"][4:] == 0).all()
    assert not torch.equal(seen[0], seen[1])


def test_examples_with_wrong_labels_gain_weight(train, make_table):
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    wrong = rng.random(200) < 0.15
    state = train(
        DROIRAT(r=0.5, attack=Attack(epsilon=0.05, step_size=0.02)),
        make_table(num_examples=200, num_classes=2, labels=np.where(wrong, 1 - labels, labels)),
        epochs=5,
    )
    means = state.buffers["dro_mean_weights"][:, 0].numpy()
    assert means[wrong].mean() > 2 * means[~wrong].mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0.0}, "r must be above 0, got 0.0"),
        ({"r": float("nan")}, "r must be above 0"),
        ({"initial_r": 1.0}, "initial_r must be finite and at least r, got 1.0"),
        ({"eta": 0.0}, r"eta must be in \(0, 1\], got 0.0"),
        ({"barrier": -1.0}, "barrier must be at least 0, got -1.0"),
        ({"barrier": 0.1, "attack": Attack(norm="l2")}, "the barrier needs attack.norm 'linf', got 'l2'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(DROIRAT(), **settings)
