from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.attacks import Attack, Threat
from learners.named_attacks import attack_metrics, attacked_logits, drawn_examples, gap_warnings, threat_around
from learners.robustness import adversarial_logits, evaluation_attacks


def line(*weights):
    """Logits (0, w . x): the second class where that is above 0."""
    network = torch.nn.Linear(len(weights), 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0] * len(weights), list(weights)]))
    return network


def test_fifty_steps_from_one_start_are_one_of_the_ten_restarts():
    named = evaluation_attacks(Threat(epsilon=0.4))
    assert named["pgd_50"].attack == named["pgd_50_10"].attack
    assert (named["pgd_50"].num_restarts, named["pgd_50_10"].num_restarts) == (1, 10)
    assert (named["pgd_50"].attack.num_steps, named["pgd_50"].attack.step_size) == (50, pytest.approx(0.1))


@pytest.mark.parametrize("name", ["fgsm", "pgd_20", "pgd_50", "pgd_50_10", "margin_pgd_20"])
def test_a_name_stands_for_the_attack_of_the_table(make_table, name):
    examples, threat = make_table(num_classes=2), Threat(epsilon=0.3)
    network = line(1.0, -1.0, 0.5, 0.0)
    one = evaluation_attacks(threat)[name]
    given = {"objective": one.objective, "num_restarts": one.num_restarts, "seed": 3}
    direct = adversarial_logits([network], examples, one.attack, **given)
    np.testing.assert_array_equal(attacked_logits(name, [network], examples, threat, seed=3), direct)


def test_metrics_of_attacked_logits_by_hand():
    logits = np.array([[2, 0], [0, 2], [0, 2], [0, 2]], dtype=np.float32)
    found = attack_metrics("fgsm", logits, np.array([0, 0, 1, 1]))
    assert found["fgsm_accuracy"] == 3 / 4
    assert found["fgsm_worst_class_accuracy"] == 1 / 2
    assert found["fgsm_tail_30"] == 1 / 2
    assert found["fgsm_loss_at_risk"] == pytest.approx(np.log(1 + np.exp(2)))


def test_an_attack_by_gradient_that_leaves_far_more_than_the_ensemble_is_told():
    near = {"pgd_20_accuracy": 0.515, "pgd_50_accuracy": 0.51, "auto_attack_accuracy": 0.5}
    assert gap_warnings(near) == []
    (sentence,) = gap_warnings({**near, "pgd_50_10_accuracy": 0.53})
    assert sentence == "pgd_50_10 leaves 53.0 % and AutoAttack 50.0 %: 3.0 points apart, above 1.5"
    assert gap_warnings({"pgd_20_accuracy": 0.9}) == []


def test_drawn_examples_are_the_seeds_alone_in_their_own_order(make_table):
    examples = replace(make_table(), groups=np.arange(60))
    drawn, again, other = (drawn_examples(examples, 20, seed) for seed in (4, 4, 5))
    assert drawn.index == again.index != other.index
    rows = examples.index.positions(drawn.index.ids)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(drawn.inputs, examples.inputs[rows])
    np.testing.assert_array_equal(drawn.labels, examples.labels[rows])
    np.testing.assert_array_equal(drawn.groups, rows)
    assert drawn_examples(examples, 60, 4) is examples
    soft = np.random.default_rng(0).dirichlet(np.ones(3), 60).astype(np.float32)
    np.testing.assert_array_equal(drawn_examples(replace(examples, soft_labels=soft), 20, 4).soft_labels, soft[rows])


def test_every_example_is_drawn_as_often_as_any_other(make_table):
    examples = make_table()
    counts = np.zeros(60)
    for seed in range(400):
        counts[examples.index.positions(drawn_examples(examples, 15, seed).index.ids)] += 1
    assert abs(counts - 100).max() < 4.5 * np.sqrt(400 * 0.25 * 0.75)


def test_observed_bounds_hold_what_was_trained_on_and_what_is_attacked(make_table):
    trained, attacked = make_table(), make_table(seed=5)
    trained.inputs[0, 0], attacked.inputs[0, 0] = -50, 70
    found = threat_around(Attack(lower="observed", upper="observed", scales="deviation"), trained, attacked)
    assert (found.lower[0], found.upper[0]) == (-50, 70)
    both = np.concatenate([trained.inputs, attacked.inputs])
    np.testing.assert_array_equal(np.float32(found.lower), both.min(axis=0))
    np.testing.assert_allclose(found.scales, trained.inputs.std(axis=0, dtype=np.float64))
    assert isinstance(found, Attack)
    given = Threat(lower=-1.0)
    assert threat_around(given, trained, attacked) is given
