"""Auto-PGD (APGD): projected gradient steps whose length halves by itself when they stop paying.

Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020, algorithm 1. https://arxiv.org/abs/2003.01690

Differs from the authors' code (https://github.com/fra31/auto-attack): the random start is uniform in
the ball, as in the paper, where the code scales each draw to the ball's surface; and the search
ends once every row has been fooled.
"""

import torch
from torch import Tensor

from learners.attacks import Objective, per_row, uniform_offsets
from learners.auto_attack.offsets import OffsetSpace, chosen

MOMENTUM = 0.75
"""Share of a new step, the rest being the last move; the paper's alpha."""
PAYING_SHARE = 0.75
"""Share of steps that must have raised the objective for the step length to stay; the paper's rho."""


def checkpoints(num_steps: int) -> tuple[int, ...]:
    """Numbers of the steps, counted from 1, after which the step length is looked at.

    The first gap is 22 % of the steps; each further one is 3 % shorter, down to 6 %; whole numbers of at least 1.
    """
    gap = max(int(0.22 * num_steps), 1)
    least, shrink = max(int(0.06 * num_steps), 1), max(int(0.03 * num_steps), 1)
    found, place = [], gap
    while place <= num_steps:
        found.append(place)
        gap = max(gap - shrink, least)
        place += gap
    return tuple(found)


def apgd(space: OffsetSpace, objective: Objective, *, num_steps: int, generator: torch.Generator) -> Tensor:
    """Offsets where a row was fooled last, or where its objective was highest if it never was.

    Args:
        space: B inputs and the ball around each.
        objective: what is raised, from (B, K) logits to (B,) numbers.
        num_steps: gradient steps, at least 1.
        generator: of the random start.

    Returns:
        (B, ...) offsets in the ball and the bounds.
    """
    start = uniform_offsets(space.box.centre.shape, space.threat, generator).to(space.box.centre)
    current = previous = space.projected(start)
    gradients, logits = space.gradients(current, objective)
    values = objective(logits)
    best, best_values, best_gradients = current, values, gradients
    found, fooled = current, space.fooled(logits)

    step = torch.full_like(values, 2 * space.threat.epsilon)
    raised = torch.zeros_like(values)
    best_at_check, halved = best_values, torch.ones_like(fooled)
    checks, last_check = checkpoints(num_steps), 0
    for number in range(1, num_steps + 1):
        if fooled.all():
            break
        move = current - previous
        plain = space.projected(current + per_row(step, current) * space.steepest(gradients))
        share = MOMENTUM if number > 1 else 1.0
        previous, current = current, space.projected(current + share * (plain - current) + (1 - share) * move)
        gradients, logits = space.gradients(current, objective)
        last_values, values = values, objective(logits)
        raised += (values > last_values).to(raised)
        better = values > best_values
        best, best_gradients = chosen(better, current, best), chosen(better, gradients, best_gradients)
        best_values = torch.where(better, values, best_values)
        now = space.fooled(logits)
        found, fooled = chosen(now, current, found), fooled | now
        if number in checks:
            stuck = ~halved & (best_values <= best_at_check)
            halved = stuck | (raised <= PAYING_SHARE * (number - last_check))
            step = torch.where(halved, step / 2, step)
            current, gradients = chosen(halved, best, current), chosen(halved, best_gradients, gradients)
            values = torch.where(halved, best_values, values)
            best_at_check, last_check = best_values, number
            raised = torch.zeros_like(raised)
    return chosen(fooled, found, best)
