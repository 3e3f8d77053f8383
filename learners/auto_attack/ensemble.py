"""The ensemble: AutoAttack's standard version, a robust accuracy that needs no tuning.

Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020. https://arxiv.org/abs/2003.01690

In this order, each on the examples that still stand: APGD on cross entropy, APGD towards other classes
on the targeted difference of logits ratio, FAB towards other classes, and the black-box square attack.

Differs from the authors' code (https://github.com/fra31/auto-attack): the seed is given, never the
clock; with K classes at most K - 1 are targets; with fewer than 4 the targeted ratio, which they do
not have, becomes the plain difference of logits; bounds are those of the threat model; and see the
four attacks' own modules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.attacks import Threat, evaluation_mode, label_loss
from learners.auto_attack.apgd import apgd
from learners.auto_attack.fab import fab
from learners.auto_attack.logit_ratios import likeliest_others, targeted_objective
from learners.auto_attack.offsets import OffsetSpace, chosen
from learners.auto_attack.square import square
from learners.batches import input_tensor, network_inputs
from learners.losses import label_margins
from learners.randomness import torch_generator
from learners.robustness import MeanLogits, attackable_labels
from storage.values import Examples

ATTACKS = ("apgd_ce", "apgd_targeted", "fab_targeted", "square")
"""Names of the four, in the order in which they are run."""


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """How long each of the four attacks goes on; the defaults are those of the standard version."""

    num_steps: int = 100
    """Gradient steps of each run of APGD and FAB, at least 1."""
    num_targets: int = 9
    """Other classes towards which the targeted attacks move an example, at least 1; at most K - 1 are used."""
    num_queries: int = 5000
    """Queries of the square attack, at least 1."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "num_targets", "num_queries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsembleResult:
    """What the four attacks left of a network's accuracy."""

    logits: NDArray[np.float32]
    """(N, K) where the label did worst: clean, or at the end of one of the attacks."""
    broken_by: NDArray[np.int64]
    """(N,) -2 for an example that was wrong without any attack, -1 for a robust one, else a place in `ATTACKS`."""

    @property
    def clean_accuracy(self) -> float:
        """Share that is right without an attack."""
        return float((self.broken_by != -2).mean())

    @property
    def robust(self) -> NDArray[np.bool_]:
        """(N,) whether an example stood all attacks."""
        standing: NDArray[np.bool_] = self.broken_by == -1
        return standing

    @property
    def robust_accuracy(self) -> float:
        """Share that stood all four attacks."""
        return float(self.robust.mean())

    @property
    def accuracy_after(self) -> Mapping[str, float]:
        """Share still standing after each attack, in the order in which they are run: it never rises."""
        broken = [np.isin(self.broken_by, (-2, *range(place + 1))) for place in range(len(ATTACKS))]
        return {name: float((~gone).mean()) for name, gone in zip(ATTACKS, broken, strict=True)}


def auto_attack(
    models: Sequence[nn.Module],
    examples: Examples,
    threat: Threat,
    settings: AutoAttack | None = None,
    *,
    seed: int = 0,
    batch_size: int = 500,
) -> EnsembleResult:
    """Attack every example with the ensemble until one attack fools the networks.

    Args:
        models: one network, or several whose logits are averaged, and attacked as one.
        examples: N labelled examples, at least 1.
        threat: norm, radius and bounds.
        settings: lengths of the attacks; None is the standard version.
        seed: of the random starts and squares, at least 0.
        batch_size: examples attacked at once, at least 1.

    Raises:
        ValueError: examples without labels or with fewer than 2 classes, or inputs out of bounds.
    """
    labels = attackable_labels(examples)
    settings = settings or AutoAttack()
    network = MeanLogits(models) if len(models) > 1 else models[0]
    rows = torch.split(input_tensor(examples.inputs), batch_size)
    logits, broken_by = [], []
    with evaluation_mode(network):
        for number, (stored, given) in enumerate(zip(rows, torch.split(labels, batch_size), strict=True)):
            space = OffsetSpace.around(network, network_inputs(stored), given, threat)
            worst, broken = _attacked(space, settings, seed, number)
            logits.append(worst)
            broken_by.append(broken)
    return EnsembleResult(logits=torch.cat(logits).numpy(), broken_by=torch.cat(broken_by).numpy())


def _attacked(space: OffsetSpace, settings: AutoAttack, seed: int, number: int) -> tuple[Tensor, Tensor]:
    """(B, K) worst logits of a batch, and (B,) what broke each row."""
    clean = space.logits(space.box.centre)
    worst, broken = clean, torch.where(space.fooled(clean), -2, -1)
    targets = likeliest_others(clean, space.labels, min(settings.num_targets, clean.shape[1] - 1))
    for place, name in enumerate(ATTACKS):
        run, ranks = _RUNS[name]
        for rank in ranks(targets.shape[1]):
            rows = torch.nonzero(broken == -1).flatten()
            if not len(rows):
                return worst, broken
            left = space.take(rows)
            offsets = run(left, targets[rows, rank], settings, torch_generator(seed, name, number, rank))
            found = left.logits(left.reached(left.projected(offsets)))
            fooled = left.fooled(found)
            lower = fooled | (label_margins(found, left.labels) < label_margins(worst[rows], left.labels))
            worst = worst.index_copy(0, rows, chosen(lower, found, worst[rows]))
            broken[rows[fooled]] = place
    return worst, broken


_Run = Callable[[OffsetSpace, Tensor, AutoAttack, torch.Generator], Tensor]


def _apgd_ce(left: OffsetSpace, targets: Tensor, settings: AutoAttack, draws: torch.Generator) -> Tensor:
    return apgd(left, label_loss(left.labels), num_steps=settings.num_steps, generator=draws)


def _apgd_targeted(left: OffsetSpace, targets: Tensor, settings: AutoAttack, draws: torch.Generator) -> Tensor:
    objective = targeted_objective(left.labels, targets)
    return apgd(left, objective, num_steps=settings.num_steps, generator=draws)


def _fab_targeted(left: OffsetSpace, targets: Tensor, settings: AutoAttack, draws: torch.Generator) -> Tensor:
    return fab(left, targets, num_steps=settings.num_steps)


def _square(left: OffsetSpace, targets: Tensor, settings: AutoAttack, draws: torch.Generator) -> Tensor:
    return square(left, num_queries=settings.num_queries, generator=draws)


def _once(num_targets: int) -> range:
    return range(1)


_RUNS: Mapping[str, tuple[_Run, Callable[[int], range]]] = {
    "apgd_ce": (_apgd_ce, _once),
    "apgd_targeted": (_apgd_targeted, range),
    "fab_targeted": (_fab_targeted, range),
    "square": (_square, _once),
}
"""How each attack is run, and for which ranks of target: once, or for every one."""
