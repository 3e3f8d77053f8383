"""Difference of logits ratio (DLR): an objective for attacks that no scale or shift of the logits can blunt.

Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020, equations 6 and 7. https://arxiv.org/abs/2003.01690
"""

import torch
from torch import Tensor

from learners.attacks import Objective
from learners.losses import label_margins

LEAST_SPREAD = 1e-12
"""Added to the divisor, which is 0 where the largest logits are equal; from the authors' code."""


def logit_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest other logit minus the label's, over the distance from the largest logit to the third largest.

    Args:
        logits: (B, K) with K at least 3: with two classes the ratio is 1 or -1 and has no gradient.
        labels: (B,) classes in [0, K).

    Returns:
        (B,) at most 1, above 0 where another class wins; unchanged by a shift or a positive factor.

    Raises:
        ValueError: fewer than 3 classes.
    """
    _check_classes(logits, least=3)
    largest = logits.topk(3, dim=1).values
    return -label_margins(logits, labels) / (largest[:, 0] - largest[:, 2] + LEAST_SPREAD)


def targeted_logit_ratio(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's logit minus the label's, over the distance from the largest logit to the mean of the 3rd and 4th.

    Args:
        logits: (B, K) with K at least 4: with three classes the two would have to be one.
        labels: (B,) classes in [0, K).
        targets: (B,) other classes, towards which inputs are moved.

    Returns:
        (B,) above 0 where the target beats the label; unchanged by a shift or a positive factor.

    Raises:
        ValueError: fewer than 4 classes.
    """
    _check_classes(logits, least=4)
    largest = logits.topk(4, dim=1).values
    spread = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return logit_difference(logits, labels, targets) / (spread + LEAST_SPREAD)


def logit_difference(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """(B,) the target's logit minus the label's."""
    return (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]


def targeted_objective(labels: Tensor, targets: Tensor) -> Objective:
    """What a targeted attack raises: the targeted ratio, or below 4 classes the plain difference of logits.

    Steps that follow a gradient's direction alone are as blind to the scale of the difference as to that of the ratio.
    """

    def objective(logits: Tensor) -> Tensor:
        if logits.shape[1] < 4:
            return logit_difference(logits, labels, targets)
        return targeted_logit_ratio(logits, labels, targets)

    return objective


def likeliest_others(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """(B, count) classes of the largest logits but the label's, the largest first; count at most K - 1."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(count, dim=1).indices


def _check_classes(logits: Tensor, *, least: int) -> None:
    if logits.shape[1] < least:
        raise ValueError(f"this difference of logits ratio needs at least {least} classes, got {logits.shape[1]}")
