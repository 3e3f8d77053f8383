"""Running averages of a network's weights.

Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on Control and
Optimization 30 (1992). https://doi.org/10.1137/0330046

Differs from the paper: old weights fade exponentially.
"""

import torch
from torch import nn


def average_weights(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move an average's parameters towards a network's: decay * old + (1 - decay) * new; buffers stay its own."""
    with torch.no_grad():
        for old, new in zip(average.parameters(), network.parameters(), strict=True):
            old.lerp_(new, 1 - decay)


def copy_statistics(average: nn.Module, network: nn.Module) -> None:
    """Give an average the network's buffers, such as the running means of batch normalisation."""
    for old, new in zip(average.buffers(), network.buffers(), strict=True):
        old.copy_(new)


def early_decay(decay: float, step: int) -> float:
    """The decay at a step: at most (1 + step) / (10 + step), so that an average forgets the first weights soon.

    Args:
        decay: in the long run, in (0, 1).
        step: counted from 0.
    """
    return min(decay, (1 + step) / (10 + step))
