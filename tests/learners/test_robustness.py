import numpy as np
import pytest
import torch
from torch import nn

from learners.attacks import Attack, Threat, label_loss, label_margin_loss, pgd_path
from learners.evaluate import accuracy, predict_logits
from learners.losses import label_margins
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.randomness import torch_generator
from learners.robustness import adversarial_logits, adversarial_margins, evaluation_attacks
from storage.index import ExampleIndex
from storage.values import Examples


def two_classes(inputs, labels):
    return Examples(
        index=ExampleIndex(f"row:{place}" for place in range(len(inputs))),
        inputs=np.array(inputs, dtype=np.float32),
        labels=np.array(labels),
        classes=("a", "b"),
    )


def linear():
    """Logits -w.x / 2 and w.x / 2 with w = (1, -2)."""
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[-0.5, 1.0], [0.5, -1.0]]))
    return network


def test_adversarial_margins_of_a_linear_network_by_hand():
    # w.x = 0.5 - 0.4 = 0.1 and 0.9 - 0.2 = 0.7. Within 0.1 each falls by 0.1 * (1 + 2),
    # within a length of 0.1 by 0.1 * sqrt(5).
    examples = two_classes([[0.5, 0.2], [0.9, 0.1]], [1, 1])
    sharp = Attack(epsilon=0.1, step_size=0.1, num_steps=3)
    np.testing.assert_allclose(adversarial_margins([linear()], examples, sharp), [-0.2, 0.4], atol=1e-6)
    round_ball = Attack(norm="l2", epsilon=0.1, step_size=0.1, num_steps=20)
    np.testing.assert_allclose(adversarial_margins([linear()], examples, round_ball), [-0.123607, 0.476393], atol=1e-5)


def test_the_least_margin_is_that_of_a_loop_over_the_path(train, make_table):
    examples = make_table(spread=1.0)
    network = train(ERM(), examples).models[0].eval()
    attack = Attack(epsilon=4.0, step_size=4.0, num_steps=6)
    inputs, labels = torch.from_numpy(examples.inputs), torch.from_numpy(examples.labels)
    end, path = pgd_path(network, inputs, label_loss(labels), attack, torch_generator(4, "attack", 0, 0))
    least = torch.full((len(examples),), torch.inf)
    for logits in (*path, network(end).detach()):
        least = torch.minimum(least, label_margins(logits, labels))
    found = adversarial_margins([network], examples, attack, seed=4)
    np.testing.assert_array_equal(found, least.numpy())
    at_end = label_margins(network(end), labels).detach().numpy()
    assert (found <= at_end).all()
    assert (found < at_end).any()


def test_examples_of_negative_margin_are_those_that_the_attack_fools(train, make_table):
    examples = make_table(spread=1.0)
    models = train(ERM(), examples, epochs=10).models
    attack = Attack(epsilon=0.4, step_size=0.05, num_steps=20, start="zero")
    robust = adversarial_margins(models, examples, attack) > 0
    assert 0 < robust.mean() < accuracy(predict_logits(models, examples), examples.labels)
    logits = adversarial_logits(models, examples, attack)
    assert robust.mean() <= accuracy(logits, examples.labels)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_evaluation_attacks_carry_the_threat_and_fool_more_with_more_effort(train, make_table, norm):
    examples = make_table(spread=1.0)
    models = train(ERM(), examples, epochs=10).models
    threat = Threat(norm=norm, epsilon=0.5, lower=-50.0, upper=50.0, scales=(1.0, 1.0, 1.0, 0.5))
    attacks = evaluation_attacks(threat)
    assert list(attacks) == ["fgsm", "pgd_20", "pgd_50", "pgd_50_10", "margin_pgd_20"]
    left = {}
    for name, named in attacks.items():
        for setting in Threat.__struct_fields__:
            assert getattr(named.attack, setting) == getattr(threat, setting)
        logits = adversarial_logits(
            models, examples, named.attack, objective=named.objective, num_restarts=named.num_restarts
        )
        left[name] = accuracy(logits, examples.labels)
    assert (
        left["pgd_50_10"]
        <= left["pgd_20"]
        <= left["fgsm"]
        < accuracy(predict_logits(models, examples), examples.labels)
    )
    assert left["pgd_50_10"] <= left["pgd_50"]
    assert (attacks["pgd_50_10"].attack.num_steps, attacks["pgd_50_10"].num_restarts) == (50, 10)
    assert attacks["margin_pgd_20"].objective is label_margin_loss
    assert attacks["pgd_20"].attack.step_size == 0.125


def test_examples_that_cannot_be_attacked_are_refused():
    one_class = Examples(
        index=ExampleIndex(["a"]), inputs=np.zeros((1, 2), np.float32), labels=np.array([0]), classes=("a",)
    )
    for function in (adversarial_margins, adversarial_logits):
        with pytest.raises(ValueError, match="at least 2 classes, got 1 examples of 1"):
            function([linear()], one_class, Attack())


def test_a_mean_of_networks_is_attacked_as_one(make_table):
    examples = make_table()
    networks = [MLP(widths=(8,)).build(examples, seed) for seed in (0, 1)]
    still = adversarial_margins(networks, examples, Attack(epsilon=0.0))
    logits = torch.from_numpy(predict_logits(networks, examples))
    np.testing.assert_allclose(still, label_margins(logits, torch.from_numpy(examples.labels)), atol=1e-5)


def test_every_network_of_several_is_left_in_the_mode_that_it_had(make_table):
    networks = [torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)) for _ in range(2)]
    networks[0].eval()
    networks[1][1].eval()
    adversarial_logits(networks, make_table(), Attack(epsilon=0.1, step_size=0.05, num_steps=1))
    modes = [[part.training for part in network.modules()] for network in networks]
    assert modes == [[False, False, False], [True, True, False]]
