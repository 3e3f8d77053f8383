"""Robust evaluation: what networks predict under attack.

Any metric of clean predictions can be taken of these logits: their accuracy is the robust accuracy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.attacks import (
    Attack,
    Objective,
    Threat,
    evaluation_mode,
    label_loss,
    label_margin_loss,
    pgd,
    pgd_path,
)
from learners.batches import input_tensor, network_inputs
from learners.losses import label_margins
from learners.randomness import torch_generator
from storage.values import Examples


class MeanLogits(nn.Module):
    """Several networks as one, whose logits are their mean."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        """Hold the networks themselves, not copies."""
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, K) mean logits."""
        return torch.stack([network(inputs) for network in self.networks]).mean(dim=0)


def adversarial_logits(
    models: Sequence[nn.Module],
    examples: Examples,
    attack: Attack,
    *,
    objective: Callable[[Tensor], Objective] = label_loss,
    num_restarts: int = 1,
    seed: int = 0,
    batch_size: int = 500,
) -> NDArray[np.float32]:
    """Each example's logits where the label does worst: clean, or at the end of one of the restarts.

    Args:
        models: one network, or several whose logits are averaged, and attacked as one.
        examples: N labelled examples.
        attack: radius, steps, start and bounds.
        objective: makes of (B,) labels what is raised: `label_loss` or `label_margin_loss`.
        num_restarts: runs of the attack, at least 1.
        seed: of the random starts, at least 0.
        batch_size: examples attacked at once, at least 1.

    Returns:
        (N, K) float32; an example counts as robust where the label's logit is still the largest.

    Raises:
        ValueError: examples without labels, no restart, restarts that start alike, or inputs out of bounds.
    """
    labels_of_all = attackable_labels(examples)
    if num_restarts < 1 or (num_restarts > 1 and attack.start == "zero"):
        raise ValueError(f"num_restarts must be at least 1, and 1 where start is zero, got {num_restarts}")
    network = MeanLogits(models) if len(models) > 1 else models[0]
    parts = []
    rows = torch.split(input_tensor(examples.inputs), batch_size)
    with evaluation_mode(network):
        for number, (stored, labels) in enumerate(zip(rows, torch.split(labels_of_all, batch_size), strict=True)):
            inputs = network_inputs(stored)
            with torch.no_grad():
                worst = network(inputs)
            for restart in range(num_restarts):
                draws = torch_generator(seed, "attack", number, restart)
                attacked = pgd(network, inputs, objective(labels), attack, draws)
                with torch.no_grad():
                    found = network(attacked)
                lower = label_margins(found, labels) < label_margins(worst, labels)
                worst = torch.where(lower[:, None], found, worst)
            parts.append(worst)
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def attackable_labels(examples: Examples) -> Tensor:
    """(N,) labels of examples that can be attacked.

    Raises:
        ValueError: no examples, no labels, or fewer than 2 classes.
    """
    if examples.labels is None:
        raise ValueError("an attack needs labels, and these examples have none")
    if not len(examples) or examples.num_classes < 2:
        raise ValueError(
            f"an attack needs examples of at least 2 classes, got {len(examples)} examples of {examples.num_classes}"
        )
    return torch.tensor(examples.labels)


@dataclass(frozen=True, kw_only=True)
class EvaluationAttack:
    """An attack as tables of results name it."""

    attack: Attack
    """Radius, steps, start and bounds."""
    objective: Callable[[Tensor], Objective] = label_loss
    """Makes of (B,) labels what is raised."""
    num_restarts: int = 1
    """Runs from different starts, at least 1."""


def evaluation_attacks(threat: Threat) -> Mapping[str, EvaluationAttack]:
    """The attacks that robust accuracy is reported for, beside AutoAttack, by name; steps are a quarter of the radius.

    `fgsm` (one full step from the input), `pgd_20`, `pgd_50`, `pgd_50_10` (10 restarts) and `margin_pgd_20` (the
    margin objective, called CW in tables).

    Args:
        threat: norm, radius and bounds; the radius above 0.

    Raises:
        ValueError: a radius of 0, within which nothing can be attacked.
    """
    if threat.epsilon == 0:
        raise ValueError("epsilon must be above 0 for an evaluation under attack, got 0")
    quarter = threat.epsilon / 4
    twenty = Attack.against(threat, step_size=quarter, num_steps=20)
    fifty = Attack.against(threat, step_size=quarter, num_steps=50)
    return {
        "fgsm": EvaluationAttack(
            attack=Attack.against(threat, step_size=threat.epsilon, num_steps=1, start="zero"),
        ),
        "pgd_20": EvaluationAttack(attack=twenty),
        "pgd_50": EvaluationAttack(attack=fifty),
        "pgd_50_10": EvaluationAttack(attack=fifty, num_restarts=10),
        "margin_pgd_20": EvaluationAttack(attack=twenty, objective=label_margin_loss),
    }


def adversarial_margins(
    models: Sequence[nn.Module], examples: Examples, attack: Attack, *, seed: int = 0, batch_size: int = 500
) -> NDArray[np.float32]:
    """How near an attack brings each example to being fooled: its least margin along the way.

    Args:
        models: one network, or several whose logits are averaged, and attacked as one.
        examples: N labelled examples.
        attack: radius, steps, start and bounds.
        seed: of the random starts, at least 0.
        batch_size: examples attacked at once, at least 1.

    Returns:
        (N,) the label's logit minus the largest other one, the least of the start and after each step, in logit
        units; below 0 where the attack succeeds, and high for examples far from the boundary.

    Raises:
        ValueError: examples without labels, or inputs out of bounds.
    """
    labels = attackable_labels(examples)
    network = MeanLogits(models) if len(models) > 1 else models[0]
    rows = torch.split(input_tensor(examples.inputs), batch_size)
    found = []
    with evaluation_mode(network):
        for number, (stored, given) in enumerate(zip(rows, torch.split(labels, batch_size), strict=True)):
            inputs, draws = network_inputs(stored), torch_generator(seed, "attack", number, 0)
            attacked, path = pgd_path(network, inputs, label_loss(given), attack, draws)
            with torch.no_grad():
                last = network(attacked)
            margins = [label_margins(logits, given) for logits in (*path, last)]
            found.append(torch.stack(margins).amin(dim=0))
    least: NDArray[np.float32] = torch.cat(found).numpy()
    return least
