"""Losses and margins per example that several training rules and attacks share; all in nats."""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of each example against a probability vector.

    Args:
        logits: (B, K).
        targets: (B, K) rows that sum to 1.

    Returns:
        (B,) losses, at least the entropy of the target.
    """
    return -(targets * log_softmax(logits, dim=1)).sum(dim=1)


def kl_divergence(logits: Tensor, other_logits: Tensor) -> Tensor:
    """Divergence KL(softmax(logits) || softmax(other_logits)) of each example.

    Args:
        logits: (B, K) of the distribution that weighs the differences.
        other_logits: (B, K) of the distribution it is compared with.

    Returns:
        (B,) at least 0, up to rounding; gradients flow into both.
    """
    log_probs = log_softmax(logits, dim=1)
    return (log_probs.exp() * (log_probs - log_softmax(other_logits, dim=1))).sum(dim=1)


def label_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit minus the largest other logit.

    Args:
        logits: (B, K) with K at least 2.
        labels: (B,) classes in [0, K).

    Returns:
        (B,) margins in logit units, below 0 where another class wins.
    """
    given = logits.gather(1, labels[:, None])[:, 0]
    is_label = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    return given - logits.masked_fill(is_label, -torch.inf).amax(dim=1)
