"""Sharpness-aware minimisation (SAM): descend by the gradient at the worst weights nearby.

Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving Generalization",
ICLR 2021, algorithm 1. https://arxiv.org/abs/2010.01412

A step is walked twice. On the first pass `TrainState.descend` climbs instead, by a fixed length along the gradient;
on the second it takes the gradient there, goes back, and descends by it. Packages wrap an optimiser that is called
with a closure, or twice; here learners own their passes and some train two networks, so whole steps are repeated.

What a step leaves behind (memories, statistics of batch normalisation) is as the first pass left it: both passes
start from the same, and the weights climbed to leave no trace.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

RADIUS = 0.05
"""How far to climb where nothing is set; the paper's value for CIFAR."""


def climb(network: nn.Module, radius: float) -> list[Tensor]:
    """Move a network's weights up its gradient, all together by the radius.

    Args:
        network: with the gradients of a backward pass.
        radius: length of the move, above 0.

    Returns:
        Copies of the weights as they were, for `go_back`.
    """
    parameters = list(network.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    length = torch.stack([gradient.norm() for gradient in gradients]).norm() + 1e-12
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.add_(parameter.grad * (radius / length))
    return before


def go_back(network: nn.Module, before: list[Tensor]) -> None:
    """Put a network's weights back to where it climbed from."""
    with torch.no_grad():
        for parameter, old in zip(network.parameters(), before, strict=True):
            parameter.copy_(old)


@dataclass(frozen=True, kw_only=True, eq=False)
class Memories:
    """What a step changes beside the trained weights, as it was at some moment."""

    rows: dict[str, Tensor]
    """The batch's rows of per-example buffers by name."""
    vectors: dict[str, Tensor]
    """Vectors by name."""
    statistics: list[tuple[Tensor, Tensor]]
    """Buffers inside networks, and their values."""

    @classmethod
    def of(
        cls, buffers: dict[str, Tensor], vectors: dict[str, Tensor], networks: list[nn.Module], positions: Tensor
    ) -> "Memories":
        """Remember this moment.

        Args:
            buffers: per-example memories.
            vectors: other memories.
            networks: those whose statistics a forward pass may change.
            positions: (B,) the rows that the step may change.
        """
        return cls(
            rows={name: buffer[positions].clone() for name, buffer in buffers.items()},
            vectors={name: vector.clone() for name, vector in vectors.items()},
            statistics=[(buffer, buffer.clone()) for network in networks for buffer in network.buffers()],
        )

    def put_back(self, buffers: dict[str, Tensor], vectors: dict[str, Tensor], positions: Tensor) -> None:
        """Make everything as it was; memories that did not exist yet go."""
        for held, kept in ((buffers, self.rows), (vectors, self.vectors)):
            for name in held.keys() - kept.keys():
                del held[name]
        for name, rows in self.rows.items():
            buffers[name][positions] = rows
        for name, vector in self.vectors.items():
            vectors[name].copy_(vector)
        for buffer, value in self.statistics:
            buffer.copy_(value)
