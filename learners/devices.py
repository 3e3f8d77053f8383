"""Devices: where networks train."""

import torch
from torch import nn

from learners.training import DeviceName, Training

NEED_ROWS = ("adamp", "sgdp")
"""Optimisers that read a weight as one row of memory for each output channel."""


def device_of(name: DeviceName) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: `cuda` without a CUDA device.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ValueError("device is 'cuda', but PyTorch finds no CUDA device; set device to 'auto' or 'cpu'")
    return torch.device("cuda", torch.cuda.current_device()) if found and name != "cpu" else torch.device("cpu")


def prepared(network: nn.Module, training: Training, device: torch.device) -> nn.Module:
    """The network on its device, compiled if so told, with float32 logits also in mixed precision.

    Raises:
        ValueError: compilation is asked for without a GPU.
    """
    if training.compile and device.type == "cpu":
        raise ValueError("compile needs a GPU, and these networks train on the CPU; set compile to false")
    network = network.to(device)
    if training.optimizer in NEED_ROWS:
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()
    if training.precision != "float32":
        network.register_forward_hook(_as_float32)
    if training.compile:
        network.compile()
    return network


def _as_float32(_network: nn.Module, _inputs: object, logits: torch.Tensor) -> torch.Tensor:
    return logits.float()
