"""Gradient masking: signs that a robust accuracy is high because an attack's gradients lead nowhere.

Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security: Circumventing Defenses
to Adversarial Examples", ICML 2018, section 3.1. https://arxiv.org/abs/1802.00420
The rule for the black-box attack, with its threshold, is that of AutoAttack's own checks:
https://github.com/fra31/auto-attack

A warning says that gradients cannot be trusted for this model; no warning does not say that they can.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from learners.attacks import Attack, Threat, evaluation_mode, input_gradient, label_loss
from learners.auto_attack.ensemble import AutoAttack, EnsembleResult, auto_attack
from learners.batches import input_tensor, network_inputs
from learners.evaluate import accuracy
from learners.robustness import MeanLogits, adversarial_logits, attackable_labels, evaluation_attacks
from storage.values import Examples

FEWER_STEPS_GAP = 0.05
"""PGD-10 may leave so much more accuracy than PGD-50; more says that the loss surface is rough. The value is ours."""
START_GAP = 0.05
"""PGD-50 from the input may leave so much more than from random starts; more says that the input is flat. Ours."""
SINGLE_STEP_GAP = 0.005
"""FGSM may leave so much less accuracy than PGD-50, which is its refinement. Ours."""
BLACK_BOX_GAP = 0.002
"""The square attack may take so much accuracy after the attacks by gradient; AutoAttack's own value."""
ENSEMBLE_GAP = 0.015
"""PGD-50 may leave so much more accuracy than AutoAttack; plain adversarial training has 2 to 4 points on CIFAR-10."""


@dataclass(frozen=True, kw_only=True)
class MaskingEvidence:
    """Accuracies of one model on the same examples and in the same ball, each a share in [0, 1]."""

    clean: float
    """Without an attack."""
    single_step: float
    """Under FGSM from the input itself."""
    few_steps: float
    """Under PGD-10 from a random start."""
    many_steps: float
    """Under PGD-50 from a random start."""
    from_input: float
    """Under PGD-50 from the input itself."""
    gradient_attacks: float
    """After AutoAttack's three attacks by gradient."""
    auto_attack: float
    """After all four: the black-box one sees what the other three left."""
    zero_gradients: float
    """Share of examples at which the loss has a gradient of exactly 0 in the input."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")


def masking_warnings(evidence: MaskingEvidence) -> tuple[str, ...]:
    """Sentences that say what is suspicious, with figures and thresholds in points; empty where nothing is."""
    found = []
    for gap, threshold, sentence in (
        (
            evidence.few_steps - evidence.many_steps,
            FEWER_STEPS_GAP,
            f"PGD-10 leaves {_points(evidence.few_steps)} % and PGD-50 {_points(evidence.many_steps)} %",
        ),
        (
            evidence.from_input - evidence.many_steps,
            START_GAP,
            f"PGD-50 leaves {_points(evidence.from_input)} % from the input itself "
            f"and {_points(evidence.many_steps)} % from a random start",
        ),
        (
            evidence.many_steps - evidence.single_step,
            SINGLE_STEP_GAP,
            f"a single step leaves {_points(evidence.single_step)} % and 50 steps {_points(evidence.many_steps)} %",
        ),
        (
            evidence.gradient_attacks - evidence.auto_attack,
            BLACK_BOX_GAP,
            f"attacks by gradient leave {_points(evidence.gradient_attacks)} %, of which the black-box attack "
            f"leaves {_points(evidence.auto_attack)} %",
        ),
        (
            evidence.many_steps - evidence.auto_attack,
            ENSEMBLE_GAP,
            f"PGD-50 leaves {_points(evidence.many_steps)} % and AutoAttack {_points(evidence.auto_attack)} %",
        ),
    ):
        if gap > threshold + 1e-9:
            found.append(f"{sentence}: {_points(gap)} points apart, above {_points(threshold)}")
    if evidence.zero_gradients > 0:
        found.append(f"the gradient in the input is exactly 0 for {_points(evidence.zero_gradients)} % of examples")
    return tuple(found)


def masking_evidence(
    models: Sequence[nn.Module],
    examples: Examples,
    threat: Threat,
    settings: AutoAttack | None = None,
    *,
    seed: int = 0,
    batch_size: int = 500,
    broken_by: NDArray[np.int64] | None = None,
) -> MaskingEvidence:
    """Measure all of it on some examples.

    Args:
        models: one network, or several whose logits are averaged, and attacked as one.
        examples: N labelled examples, at least 1.
        threat: norm, radius above 0, and bounds.
        settings: lengths of AutoAttack's parts; None is the standard version.
        seed: of the random starts, at least 0.
        batch_size: examples attacked at once, at least 1.
        broken_by: (N,) of an `EnsembleResult` of these very examples, where AutoAttack was run already.

    Raises:
        ValueError: examples without labels, inputs out of bounds, or a radius of 0.
    """
    quarter = threat.epsilon / 4
    attacks = {
        "single_step": evaluation_attacks(threat)["fgsm"].attack,
        "few_steps": Attack.against(threat, step_size=quarter, num_steps=10),
        "many_steps": Attack.against(threat, step_size=quarter, num_steps=50),
        "from_input": Attack.against(threat, step_size=quarter, num_steps=50, start="zero"),
    }
    labels = attackable_labels(examples).numpy()
    left = {
        name: accuracy(adversarial_logits(models, examples, attack, seed=seed, batch_size=batch_size), labels)
        for name, attack in attacks.items()
    }
    if broken_by is None:
        broken_by = auto_attack(models, examples, threat, settings, seed=seed, batch_size=batch_size).broken_by
    ensemble = EnsembleResult(logits=np.empty((len(examples), 0), dtype=np.float32), broken_by=broken_by)
    return MaskingEvidence(
        clean=ensemble.clean_accuracy,
        gradient_attacks=ensemble.accuracy_after["fab_targeted"],
        auto_attack=ensemble.robust_accuracy,
        zero_gradients=zero_gradient_share(models, examples, batch_size=batch_size),
        **left,
    )


def zero_gradient_share(models: Sequence[nn.Module], examples: Examples, *, batch_size: int = 500) -> float:
    """Share of examples at which the cross entropy's gradient in the input is exactly 0, in [0, 1]."""
    network = MeanLogits(models) if len(models) > 1 else models[0]
    rows = torch.split(input_tensor(examples.inputs), batch_size)
    flat = []
    with evaluation_mode(network):
        for stored, labels in zip(rows, torch.split(attackable_labels(examples), batch_size), strict=True):
            gradients, _ = input_gradient(network, network_inputs(stored), label_loss(labels))
            flat.append((gradients.flatten(1) == 0).all(dim=1).numpy())
    return float(np.concatenate(flat).mean())


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
