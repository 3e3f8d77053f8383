from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from learners.attacks import Attack, Threat
from learners.auto_attack.ensemble import AutoAttack
from learners.gradient_masking import MaskingEvidence, masking_evidence, masking_warnings, zero_gradient_share
from learners.methods.pgd_training import PGDTraining

SHORT = AutoAttack(num_steps=20, num_targets=3, num_queries=400)
THREAT = Threat(epsilon=0.4)

HONEST = MaskingEvidence(
    clean=0.85,
    single_step=0.56,
    few_steps=0.52,
    many_steps=0.51,
    from_input=0.515,
    gradient_attacks=0.50,
    auto_attack=0.499,
    zero_gradients=0.0,
)


def test_an_honest_model_raises_no_warning():
    assert masking_warnings(HONEST) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"few_steps": 0.57}, "PGD-10 leaves 57.0 % and PGD-50 51.0 %: 6.0 points apart, above 5.0"),
        (
            {"from_input": 0.60},
            "PGD-50 leaves 60.0 % from the input itself and 51.0 % from a random start: 9.0 points apart, above 5.0",
        ),
        ({"single_step": 0.50}, "a single step leaves 50.0 % and 50 steps 51.0 %: 1.0 points apart, above 0.5"),
        (
            {"gradient_attacks": 0.504},
            "attacks by gradient leave 50.4 %, of which the black-box attack leaves 49.9 %: "
            "0.5 points apart, above 0.2",
        ),
        ({"zero_gradients": 0.25}, "the gradient in the input is exactly 0 for 25.0 % of examples"),
    ],
)
def test_each_sign_has_its_own_sentence_with_figures_and_threshold(change, sentence):
    assert masking_warnings(replace(HONEST, **change)) == (sentence,)


def test_a_gap_to_the_ensemble_is_flagged_above_a_point_and_a_half_and_not_at_it():
    at = replace(HONEST, many_steps=0.515, few_steps=0.52, auto_attack=0.5, gradient_attacks=0.5)
    assert masking_warnings(at) == ()
    assert masking_warnings(replace(at, many_steps=0.516)) == (
        "PGD-50 leaves 51.6 % and AutoAttack 50.0 %: 1.6 points apart, above 1.5",
    )


def test_an_accuracy_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"clean must be in \[0, 1\], got 85"):
        replace(HONEST, clean=85)


@pytest.fixture(scope="module")
def robust(train, make_table):
    examples = make_table(num_examples=120, spread=1.0)
    learner = PGDTraining(attack=Attack(epsilon=0.4, step_size=0.1))
    return train(learner, examples, epochs=15).models, examples


def test_an_adversarially_trained_network_is_found_honest(robust):
    models, examples = robust
    evidence = masking_evidence(models, examples, THREAT, SHORT)
    assert evidence.auto_attack <= evidence.many_steps <= evidence.clean
    assert masking_warnings(evidence) == ()


class Quantised(nn.Module):
    """Logits in whole steps: predictions hardly change, and no gradient is left."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        logits = self.network(inputs)
        return (8 * logits).round() / 8 + 0 * inputs.flatten(1).sum(1, keepdim=True)


def test_quantised_logits_are_found_out(robust):
    models, examples = robust
    masked = [Quantised(models[0])]
    evidence = masking_evidence(masked, examples, THREAT, SHORT)
    assert evidence.many_steps > masking_evidence(models, examples, THREAT, SHORT).many_steps
    assert zero_gradient_share(masked, examples) == evidence.zero_gradients == 1.0
    warnings = masking_warnings(evidence)
    assert any("black-box attack" in one for one in warnings)
    assert any("AutoAttack" in one for one in warnings)
    assert warnings[-1] == "the gradient in the input is exactly 0 for 100.0 % of examples"


class Flat(nn.Module):
    """A network behind a dead zone: within 0.02 of the given inputs nothing moves, so a start there leads nowhere."""

    def __init__(self, network, inputs):
        super().__init__()
        self.network = network
        self.inputs = torch.from_numpy(inputs)

    def forward(self, inputs):
        nearest = self.inputs[torch.cdist(inputs, self.inputs).argmin(dim=1)]
        outside = ((inputs - nearest).abs().amax(dim=1, keepdim=True) > 0.02).to(inputs)
        return self.network(outside * inputs + (1 - outside) * nearest)


def test_a_flat_spot_around_each_input_is_found_out(robust):
    models, examples = robust
    evidence = masking_evidence([Flat(models[0], examples.inputs)], examples, THREAT, SHORT)
    assert evidence.from_input == evidence.single_step == evidence.clean
    assert any("from the input itself" in one for one in masking_warnings(evidence))


def test_a_radius_of_zero_is_refused(robust):
    models, examples = robust
    with pytest.raises(ValueError, match="epsilon must be above 0 for an evaluation under attack, got 0"):
        masking_evidence(models, examples, Threat(epsilon=0.0))
    assert np.isfinite(masking_evidence(models, examples, Threat(norm="l2", epsilon=0.5), SHORT).auto_attack)
