"""Named attacks: a model under one of the attacks that recipes name, and what the logits there say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as replace_in_struct
from numpy.typing import NDArray
from torch import nn

from learners.attacks import Threat
from learners.auto_attack.ensemble import auto_attack
from learners.gradient_masking import ENSEMBLE_GAP
from learners.observed import AnyThreat, observed_threat
from learners.randomness import generator
from learners.robustness import adversarial_logits, evaluation_attacks
from learners.worst_case import tail_metrics
from storage.values import Examples

ENSEMBLE = "auto_attack"
"""The attack that is not one of `learners.robustness.evaluation_attacks`: AutoAttack's standard version."""


def attacked_logits(
    name: str, models: Sequence[nn.Module], examples: Examples, threat: Threat, *, seed: int
) -> NDArray[np.float32]:
    """Each example's logits where an attack left its label worst.

    Args:
        name: `auto_attack`, or one of `evaluation_attacks`.
        models: one network, or several whose logits are averaged, and attacked as one.
        examples: N labelled examples, at least 1.
        threat: norm, radius above 0, and bounds.
        seed: of the random starts, at least 0.

    Returns:
        (N, K); an example stood the attack where the label's logit is still the largest.

    Raises:
        ValueError: examples without labels, inputs out of bounds, or a radius of 0.
    """
    named = evaluation_attacks(threat)
    if name == ENSEMBLE:
        return auto_attack(models, examples, threat, seed=seed).logits
    found = named[name]
    return adversarial_logits(
        models, examples, found.attack, objective=found.objective, num_restarts=found.num_restarts, seed=seed
    )


def attack_metrics(name: str, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """`<attack>_accuracy`, `_worst_class_accuracy`, `_tail_30` and `_loss_at_risk` of (N, K) attacked logits."""
    found = tail_metrics(logits, labels)
    return {
        f"{name}_accuracy": found.accuracy,
        f"{name}_worst_class_accuracy": found.worst_class,
        f"{name}_tail_30": found.tail,
        f"{name}_loss_at_risk": found.loss_at_risk,
    }


def gap_warnings(metrics: Mapping[str, float]) -> list[str]:
    """Sentences on attacks by gradient that leave suspiciously more than AutoAttack does; empty where none does.

    Args:
        metrics: with `<attack>_accuracy` of one model.
    """
    ensemble = metrics.get(f"{ENSEMBLE}_accuracy")
    if ensemble is None:
        return []
    found = []
    for name in ("pgd_20", "pgd_50", "pgd_50_10", "margin_pgd_20"):
        left = metrics.get(f"{name}_accuracy", ensemble)
        if left - ensemble > ENSEMBLE_GAP + 1e-9:
            found.append(
                f"{name} leaves {100 * left:.1f} % and AutoAttack {100 * ensemble:.1f} %: "
                f"{100 * (left - ensemble):.1f} points apart, above {100 * ENSEMBLE_GAP:.1f}"
            )
    return found


def drawn_examples(examples: Examples, number: int, seed: int) -> Examples:
    """So many examples, drawn uniformly without replacement and in their own order; all where there are no more.

    Args:
        examples: N examples.
        number: at least 1.
        seed: of the draw, at least 0.
    """
    if number >= len(examples):
        return examples
    rows = np.sort(generator(seed, "attacked examples").permutation(len(examples))[:number])
    return replace(
        examples,
        index=examples.index.take(rows),
        inputs=examples.inputs[rows],
        labels=None if examples.labels is None else examples.labels[rows],
        weights=None if examples.weights is None else examples.weights[rows],
        groups=None if examples.groups is None else examples.groups[rows],
        soft_labels=None if examples.soft_labels is None else examples.soft_labels[rows],
    )


def threat_around(threat: AnyThreat, trained: Examples, attacked: Examples) -> AnyThreat:
    """A threat model with numbers for words: units of the examples trained on, bounds that hold the attacked ones too.

    Args:
        threat: an attack too; may have `observed` bounds and `deviation` scales.
        trained: what is trained on; for an evaluation the whole split, so that every model is attacked alike.
        attacked: examples to be attacked.
    """
    seen = observed_threat(threat, trained)
    wider = {"lower": np.minimum, "upper": np.maximum}
    here = observed_threat(threat, attacked)
    bounds = {
        name: tuple(widest(getattr(seen, name), getattr(here, name)).tolist())
        for name, widest in wider.items()
        if isinstance(getattr(threat, name), str)
    }
    return replace_in_struct(seen, **bounds) if bounds else seen
