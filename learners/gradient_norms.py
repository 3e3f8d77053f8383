"""Gradient norms: how far each example alone would move all weights of a network.

Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early
in Training", NeurIPS 2021, definition of the GraNd score. https://arxiv.org/abs/2107.07075
"""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from learners.attacks import evaluation_mode
from learners.batches import network_inputs

NUMBERS_AT_ONCE = 2**24
"""Numbers of the gradients that are held at a time: 64 MiB, or one example's where those are more."""

MOST_ROWS = 256
"""Rows of a chunk at most."""


def gradient_norms(networks: Sequence[nn.Module], inputs: Tensor, labels: Tensor) -> Tensor:
    """Norm of each example's gradient of the cross entropy in all weights, in evaluation mode.

    So batch normalisation shifts and scales by its running statistics, and an example's gradient does not depend on
    the others beside it. Examples go through in chunks; each costs at least a forward and a backward pass.

    Args:
        networks: one, or several whose logits are averaged; a compiled one is run as it was before.
        inputs: N examples, as `input_tensor` makes them.
        labels: (N,) given classes in [0, K).

    Returns:
        (N,) float32 norms of at least 0, on the CPU.
    """
    together = _Together(networks)
    weights = {name: one.detach() for name, one in together.named_parameters() if one.requires_grad}

    def loss(trained: dict[str, Tensor], rows: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = functional_call(together, trained, (rows[None],))
        return cross_entropy(logits, label[None])

    of_each = vmap(grad(loss), in_dims=(None, 0, 0))
    size = max(1, min(MOST_ROWS, NUMBERS_AT_ONCE // max(1, sum(one.numel() for one in weights.values()))))
    device = next((one.device for one in weights.values()), inputs.device)
    norms = []
    with ExitStack() as stack:
        for network in networks:
            stack.enter_context(evaluation_mode(network))
        for rows, chosen in zip(torch.split(inputs, size), torch.split(labels, size), strict=True):
            gradients = of_each(weights, network_inputs(rows.to(device)), chosen.to(device))
            squares = [one.flatten(1).square().sum(dim=1) for one in gradients.values()]
            norms.append(torch.stack(squares).sum(dim=0).sqrt().float().cpu())
    return torch.cat(norms)


class _Together(nn.Module):
    """Networks as one whose logits are the mean of theirs, each run as it was before it was compiled."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, K) logits."""
        logits = [network.forward(inputs) for network in self.networks]
        mean: Tensor = torch.stack(logits).mean(dim=0)
        return mean
