"""Targets that blend a label with the network's own earlier prediction."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def share_of_past(alpha: float, epoch: int, total_epochs: int) -> float:
    """How much the earlier prediction counts: alpha * (epoch + 1) / total_epochs.

    Args:
        alpha: the share in the last epoch, in [0, 1].
        epoch: completed epochs, 0 during the first.
        total_epochs: planned epochs.
    """
    return alpha * (epoch + 1) / total_epochs


def blended_targets(labels: Tensor, past_probs: Tensor, *, share: float) -> Tensor:
    """The target (1 - share) * one-hot label + share * earlier prediction.

    Args:
        labels: (B,) given classes in [0, K).
        past_probs: (B, K) earlier predictions; a row of zeros means none, and then the target is the label alone.
        share: how much the earlier prediction counts, in [0, 1].

    Returns:
        (B, K) rows that sum to 1.
    """
    onehot = one_hot(labels, past_probs.shape[1]).to(past_probs.dtype)
    known = past_probs.sum(dim=1, keepdim=True) > 0
    return torch.where(known, (1 - share) * onehot + share * past_probs, onehot)
