"""Robust evaluation: what networks predict under attack.

Any metric of clean predictions can be taken of these logits: their accuracy is the robust accuracy.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.attacks import Attack, Objective, label_loss, pgd
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
    if examples.labels is None:
        raise ValueError("an attack needs labels, and these examples have none")
    if num_restarts < 1 or (num_restarts > 1 and attack.start == "zero"):
        raise ValueError(f"num_restarts must be at least 1, and 1 where start is zero, got {num_restarts}")
    network = MeanLogits(models) if len(models) > 1 else models[0]
    mode = network.training
    network.eval()
    parts = []
    rows = torch.split(input_tensor(examples.inputs), batch_size)
    for number, (stored, labels) in enumerate(
        zip(rows, torch.split(torch.tensor(examples.labels), batch_size), strict=True)
    ):
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
    network.train(mode)
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits
