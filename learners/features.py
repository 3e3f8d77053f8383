"""Features: what enters a network's last layer, as the network's own representation of an example."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from learners.attacks import evaluation_mode
from learners.batches import network_inputs

OF_FEATURES = ("feature_norm", "embedding")
"""Signals made of features: their Euclidean norm, and they themselves."""


def evaluated(
    networks: Sequence[nn.Module], inputs: Tensor, names: Sequence[str], batch_size: int
) -> dict[str, Tensor]:
    """Signals of every example from one pass in evaluation mode; modes are put back afterwards.

    Of several networks, whose logits are averaged, the features stand side by side, divided by their number, so that
    the averaged logits are a linear layer of these.

    Args:
        networks: one, or several; a compiled one is run as it was before.
        inputs: N examples, as `input_tensor` makes them.
        names: of `logits`, `feature_norm` and `embedding`.
        batch_size: examples per forward pass, at least 1.

    Returns:
        (N, K) logits, (N,) norms and (N, D) features by name, float32 on the CPU.

    Raises:
        ValueError: a network's logits are not the output of its last linear layer.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    device = next((one.device for one in networks[0].parameters()), inputs.device)
    with ExitStack() as stack:
        for network in networks:
            stack.enter_context(evaluation_mode(network))
        stack.enter_context(torch.inference_mode())
        for rows in torch.split(inputs, batch_size):
            logits, features = _forward(networks, network_inputs(rows.to(device)))
            found = {"logits": logits, "embedding": features, "feature_norm": features.norm(dim=1)}
            for name, batches in parts.items():
                batches.append(found[name].float().cpu())
    return {name: torch.cat(batches) for name, batches in parts.items()}


def _forward(networks: Sequence[nn.Module], batch: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K) logits and (B, D) features."""
    outputs, entered = [], []
    for network in networks:
        with _watched(network) as seen:
            logits = network.forward(batch)
        if len(seen) != 1 or not _is_output(seen[0][1], logits):
            raise ValueError(_TOLD.format(type(network).__name__))
        outputs.append(logits)
        entered.append(seen[0][0])
    if len(networks) == 1:
        return outputs[0], entered[0]
    total = outputs[0]
    for logits in outputs[1:]:
        total = total + logits
    return total / len(networks), torch.cat(entered, dim=1) / len(networks)


_TOLD = (
    "the signals feature_norm and embedding are what enters the linear layer whose outputs are the logits, and {} has "
    "no such layer at its end; leave them out, or let the network end in one"
)


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What enters and leaves the network's last linear layer inside the block."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError(_TOLD.format(type(network).__name__))
    seen: list[tuple[Tensor, Tensor]] = []
    handle = layers[-1].register_forward_hook(lambda _layer, given, output: seen.append((given[0], output)))
    try:
        yield seen
    finally:
        handle.remove()


def _is_output(output: Tensor, logits: Tensor) -> bool:
    return output is logits or torch.equal(output, logits)
