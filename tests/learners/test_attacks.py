import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import nn
from torch.nn.functional import cross_entropy

from learners.attacks import Attack, label_loss, label_margin_loss, pgd, pgd_path
from learners.evaluate import accuracy, predict_logits
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.robustness import adversarial_logits


def linear(weights):
    """A two-class network whose logits are -w.x / 2 and w.x / 2, so that its loss is the logistic one."""
    network = nn.Linear(len(weights), 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[-0.5], [0.5]]) * torch.tensor([weights]))
    return network


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def attacked(network, inputs, labels, attack, seed=0):
    return pgd(network, inputs, label_loss(labels), attack, draws(seed))


# w = (1, -2), x = (0.5, 0.2), class 1: margin 0.1, loss log(1 + exp(-0.1)) = 0.644397.
# The worst change within 0.1 is (-0.1, +0.1), margin 0.1 - 0.1 * 3: loss log(1 + exp(0.2)) = 0.798139.
NETWORK, INPUT, LABEL = linear([1.0, -2.0]), torch.tensor([[0.5, 0.2]]), torch.tensor([1])


@pytest.mark.parametrize(
    "attack",
    [
        Attack(epsilon=0.1, step_size=0.03, num_steps=7, lower=0.0, upper=1.0),
        Attack(epsilon=0.1, step_size=0.03, num_steps=7, start="zero", lower=0.0, upper=1.0),
        Attack(epsilon=0.1, step_size=0.03, num_steps=7, start="gaussian", lower=0.0, upper=1.0),
        Attack.fast_gradient_sign(0.1, lower=0.0, upper=1.0),
    ],
    ids=("uniform", "zero", "gaussian", "fast gradient sign"),
)
def test_the_worst_input_of_a_linear_network_is_found_exactly(attack):
    found = attacked(NETWORK, INPUT, LABEL, attack)
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.3]]))
    assert float(cross_entropy(NETWORK(INPUT), LABEL).detach()) == pytest.approx(0.644397, abs=1e-6)
    assert float(cross_entropy(NETWORK(found), LABEL).detach()) == pytest.approx(0.798139, abs=1e-6)


def test_the_worst_input_within_a_length_follows_the_weights():
    # -0.1 * (1, -2) / sqrt(5)
    attack = Attack(norm="l2", epsilon=0.1, step_size=0.05, num_steps=40)
    found = attacked(NETWORK, INPUT, LABEL, attack)
    np.testing.assert_allclose(found - INPUT, [[-0.044721, 0.089443]], atol=1e-5)


def test_bounds_stop_a_change_and_a_scale_of_zero_keeps_a_feature():
    attack = Attack(epsilon=0.1, step_size=0.1, num_steps=3, lower=0.45, upper=0.6)
    with pytest.raises(ValueError, match=r"inputs must lie in the attack's bounds \[0.45, 0.6\], found \[0.2, 0.5\]"):
        attacked(NETWORK, INPUT, LABEL, attack)
    torch.testing.assert_close(
        attacked(NETWORK, INPUT, LABEL, replace(attack, lower=0.1, upper=0.25 + 0.25)), torch.tensor([[0.4, 0.3]])
    )
    for norm, reach in (("linf", 0.3), ("l2", 0.3)):
        scaled = replace(attack, norm=norm, lower=None, upper=None, scales=(0.0, 3.0))
        torch.testing.assert_close(attacked(NETWORK, INPUT, LABEL, scaled), INPUT + torch.tensor([[0.0, reach]]))


def test_the_margin_objective_is_raised_too():
    found = pgd(
        NETWORK,
        INPUT,
        label_margin_loss(LABEL),
        Attack(epsilon=0.1, step_size=0.1, num_steps=2, start="zero"),
        draws(),
    )
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.3]]))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["linf", "l2"]),
    st.sampled_from(["uniform", "gaussian", "zero"]),
    st.floats(0, 0.6),
    st.integers(0, 1000),
)
def test_every_result_lies_within_the_radius_and_the_bounds(norm, start, epsilon, seed):
    inputs = torch.rand(5, 6, generator=draws(seed))
    network = linear([1.0, -2.0, 0.5, 0.0, 3.0, -1.0])
    attack = Attack(norm=norm, start=start, epsilon=epsilon, step_size=0.2, num_steps=3, lower=0.0, upper=1.0)
    found = attacked(network, inputs, torch.tensor([0, 1, 0, 1, 1]), attack, seed)
    size = (found - inputs).abs().amax(1) if norm == "linf" else (found - inputs).norm(dim=1)
    assert (size <= epsilon + 1e-6).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    if epsilon == 0:
        assert torch.equal(found, inputs)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_radius_of_zero_returns_the_inputs_themselves(norm):
    assert torch.equal(attacked(NETWORK, INPUT, LABEL, Attack(norm=norm, epsilon=0.0)), INPUT)


def test_an_attack_leaves_the_network_as_it_was(make_images):
    examples = make_images()
    network = SmallCNN(width=4, hidden=8).build(examples, seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inputs = torch.from_numpy(examples.inputs).float().unsqueeze(1) / 255
    attacked(network, inputs, torch.from_numpy(examples.labels), Attack())
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_path_starts_at_the_start_and_the_loss_rises_along_it():
    inputs, labels = torch.rand(6, 2, generator=draws()), torch.arange(6) % 2
    network = linear([1.0, -2.0])
    attack = Attack(epsilon=0.2, step_size=0.05, num_steps=5, start="zero")
    _, path = pgd_path(network, inputs, label_loss(labels), attack, draws())
    torch.testing.assert_close(path[0], network(inputs).detach())
    losses = torch.stack([cross_entropy(logits, labels) for logits in path])
    assert (losses.diff() > 0).all()


@pytest.fixture
def trained(train, make_table):
    examples = make_table(spread=1.0)
    return train(ERM(), examples, epochs=20).models, examples


def robust_accuracy(trained, **settings):
    models, examples = trained
    options = {name: settings.pop(name) for name in ("num_restarts", "seed", "batch_size") if name in settings}
    return accuracy(adversarial_logits(models, examples, Attack(**settings), **options), examples.labels)


def test_robust_accuracy_falls_with_the_radius_from_clean_to_nothing(trained):
    models, examples = trained
    clean = accuracy(predict_logits(models, examples), examples.labels)
    found = [
        robust_accuracy(trained, epsilon=epsilon, step_size=max(epsilon / 4, 1e-3)) for epsilon in (0.0, 0.3, 1.0, 20.0)
    ]
    assert found[0] == clean
    assert found == sorted(found, reverse=True)
    assert found[-1] == 0.0


def test_more_restarts_never_help_the_defender_and_noise_is_weaker_than_gradients(trained):
    few = robust_accuracy(trained, epsilon=0.5, step_size=0.1, num_steps=2)
    many = robust_accuracy(trained, epsilon=0.5, step_size=0.1, num_steps=2, num_restarts=4)
    noise = robust_accuracy(trained, epsilon=0.5, step_size=1e-9, num_steps=1)
    assert many <= few < noise


def test_the_size_of_batches_does_not_matter_without_a_random_start(trained):
    settings = {"epsilon": 0.5, "step_size": 0.1, "start": "zero"}
    models, examples = trained
    found = [adversarial_logits(models, examples, Attack(**settings), batch_size=size) for size in (1, 256)]
    np.testing.assert_allclose(*found, atol=1e-4)


def test_several_networks_are_attacked_as_their_mean(make_table):
    examples = make_table()
    networks = [MLP(widths=(8,)).build(examples, seed) for seed in (0, 1)]
    still = adversarial_logits(networks, examples, Attack(epsilon=0.0))
    np.testing.assert_allclose(still, predict_logits(networks, examples), atol=1e-6)
    moved = adversarial_logits(networks, examples, Attack(epsilon=1.0, step_size=0.3))
    assert accuracy(moved, examples.labels) <= accuracy(still, examples.labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1"}, "norm must be one of linf, l2, got 'l1'"),
        ({"start": "corner"}, "start must be one of uniform, gaussian, zero"),
        ({"epsilon": -0.1}, "epsilon must be at least 0, got -0.1"),
        ({"step_size": 0.0}, "step_size must be above 0, got 0.0"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"lower": 1.0, "upper": 0.0}, "lower must be below upper"),
        ({"scales": (1.0, -1.0)}, "scales must each be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Attack(**settings)


def test_a_recipe_with_a_misspelt_key_is_refused_and_every_default_is_written_out():
    with pytest.raises(msgspec.ValidationError, match="unknown field `epsilonn`"):
        msgspec.convert({"epsilonn": 0.1}, Attack)
    assert set(msgspec.to_builtins(msgspec.convert({"epsilon": 0.1}, Attack))) == set(Attack.__struct_fields__)


def test_scales_of_another_length_and_idle_restarts_are_refused(make_table):
    with pytest.raises(ValueError, match="scales must have one number per feature of a table, got 3"):
        attacked(NETWORK, INPUT, LABEL, Attack(scales=(1.0, 1.0, 1.0)))
    examples = make_table()
    network = MLP(widths=()).build(examples, 0)
    with pytest.raises(ValueError, match="num_restarts must be at least 1, and 1 where start is zero, got 2"):
        adversarial_logits([network], examples, Attack(start="zero"), num_restarts=2)
