"""Checkpoints: a training run as named arrays and plain facts, and back, bit for bit.

The facts can be written as JSON and the arrays in any format that keeps names, shapes and
types; nothing is pickled. Checkpoints are taken between epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from learners.signals import Recorder
from learners.state import TrainState
from storage.values import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """What a run needs to go on after an epoch."""

    arrays: Mapping[str, Array]
    """`models/0/<tensor>`, `optimizers/0/<parameter>/<tensor>`, `buffers/<name>`, `vectors/<name>`,
    `copies/<name>/<tensor>`, `recorded/<name>/<epoch>`."""
    facts: Mapping[str, Any]
    """Counters, learning-rate schedules and the run's identity; every value is JSON."""


def save_state(state: TrainState, recorder: Recorder | None = None) -> Checkpoint:
    """Copy a run between two epochs.

    Args:
        state: of the last report.
        recorder: the run's recorder, where it has one.

    Returns:
        Arrays that later training does not change, and facts. Copies of buffers on disk are on disk.
    """
    arrays = model_arrays(state.models)
    groups, schedulers = [], []
    for number in range(len(state.models)):
        optimizer = state.optimizers[number].state_dict()
        for parameter, entries in optimizer["state"].items():
            for name, tensor in entries.items():
                if tensor is not None:
                    arrays[f"optimizers/{number}/{parameter}/{name}"] = _copied(tensor)
        groups.append(optimizer["param_groups"])
        schedulers.append(state.schedulers[number].state_dict())
    for name in state.buffers:
        arrays[f"buffers/{name}"] = state.saved_buffer(name)
    for name, tensor in state.vectors.items():
        arrays[f"vectors/{name}"] = _copied(tensor)
    for copy_name, network in state.copies.items():
        for name, tensor in network.state_dict().items():
            arrays[f"copies/{copy_name}/{name}"] = _copied(tensor)
    for name, taken in (recorder.taken if recorder else {}).items():
        for epoch, values in taken.items():
            arrays[f"recorded/{name}/{epoch}"] = values
    facts = {
        "epoch": state.epoch,
        "step": state.step,
        "identity": dict(state.identity),
        "record": _choice(recorder),
        "param_groups": groups,
        "schedulers": schedulers,
    }
    return Checkpoint(arrays=arrays, facts=facts)


def model_arrays(networks: Sequence[nn.Module]) -> dict[str, Array]:
    """Weights alone, named `models/0/<tensor>` as in a checkpoint, for `load_model`.

    Args:
        networks: a run's `models`, or the `predicting` or `best` ones of its state.
    """
    return {
        f"models/{number}/{name}": _copied(tensor)
        for number, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }


def load_state(checkpoint: Checkpoint, state: TrainState, recorder: Recorder | None = None) -> None:
    """Put a fresh state, and its recorder, where a checkpoint left them.

    Raises:
        ValueError: the checkpoint is of another run; names the first thing that differs.
    """
    facts, arrays = checkpoint.facts, checkpoint.arrays
    for name, value in {**state.identity, "record": _choice(recorder)}.items():
        stored = facts["record"] if name == "record" else facts["identity"].get(name)
        if stored != value:
            raise ValueError(f"the checkpoint is of another run: its {name} is {stored}, this run's is {value}")
    state.epoch, state.step = facts["epoch"], facts["step"]
    for number, model in enumerate(state.models):
        load_model(model, arrays, model=number)
        entries = _optimizer_entries(arrays, number, list(model.parameters()))
        groups = facts["param_groups"][number]
        state.optimizers[number].load_state_dict({"state": entries, "param_groups": groups})
        state.schedulers[number].load_state_dict(dict(facts["schedulers"][number]))
    state.buffers.clear()
    for name, rows in arrays.items():
        if name.startswith("buffers/"):
            state.restore_buffer(name.removeprefix("buffers/"), rows)
    state.vectors.clear()
    state.vectors.update({name: tensor.to(state.device) for name, tensor in _under(arrays, "vectors/").items()})
    for name in sorted({name.partition("/")[0] for name in _under(arrays, "copies/")}):
        state.copied(name).load_state_dict(_under(arrays, f"copies/{name}/"))
    if recorder:
        for name, tensor in _under(arrays, "recorded/").items():
            signal, _, epoch = name.rpartition("/")
            recorder.taken[signal][int(epoch)] = tensor.numpy()


def _optimizer_entries(
    arrays: Mapping[str, Array], number: int, parameters: list[nn.Parameter]
) -> dict[int, dict[str, Tensor]]:
    """An optimiser's tensors by parameter, laid out in memory like the parameter.

    Fused optimiser kernels read both side by side and so need one layout.
    """
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(arrays, f"optimizers/{number}/").items():
        place, _, entry = name.partition("/")
        parameter = parameters[int(place)]
        if tensor.shape == parameter.shape:
            tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        entries.setdefault(int(place), {})[entry] = tensor
    return entries


def load_model(network: nn.Module, arrays: Mapping[str, Array], *, model: int = 0) -> None:
    """Give a network, built from the same settings, the weights of a checkpoint.

    Args:
        network: takes the weights.
        arrays: of the checkpoint.
        model: which of the run's networks.

    Raises:
        RuntimeError: names or shapes do not fit the network.
    """
    network.load_state_dict(_under(arrays, f"models/{model}/"))


def _copied(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy().copy()


def _under(arrays: Mapping[str, Array], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _choice(recorder: Recorder | None) -> dict[str, list[int]]:
    return {name: list(epochs) for name, epochs in recorder.chosen.items()} if recorder else {}
