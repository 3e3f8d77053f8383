"""The user's own network, made by a function of theirs that is named by its import path.

The hash of the source of the function's module is a setting of the model: what was trained by other
code is never taken for the same. Only that one file counts, not those that it imports. A process
imports it once, and keeps code and hash until it ends.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn

from learners.attacks import evaluation_mode
from learners.batches import input_tensor, network_inputs
from learners.model import Model
from learners.randomness import torch_seeded
from storage.values import Examples

Make = Callable[[tuple[int, ...], int], nn.Module]
"""From the shape of one input, (C, H, W) in [0, 1] or (D,), and K: a network from inputs to (B, K) logits."""


@dataclass(frozen=True, kw_only=True)
class Factory(Model):
    """Whatever network `make(input_shape, num_classes)` returns; inputs reach it as they are, not standardised."""

    factory: str
    """Import path `module:function`, such as `my_pkg.nets:make`; the module's folder must be on PYTHONPATH."""
    source: str | None = None
    """Hash of the module's source; None fills it in. A stored model gives it, and then the code must still be that."""

    def __post_init__(self) -> None:
        found = _function(self.factory)[1]
        if self.source is not None and self.source != found:
            raise ValueError(
                f"the code of {self.factory} has changed: the stored model was made by source {self.source}, "
                f"and the source is now {found}; bring that file back, or train again"
            )
        object.__setattr__(self, "source", found)

    def build(self, examples: Examples, seed: int) -> nn.Module:
        """The user's network, with what it draws following from the seed.

        Raises:
            TypeError: the function did not return a network.
            ValueError: the network does not make (B, K) finite logits.
        """
        few = input_tensor(examples.inputs[:2])
        shape = tuple(network_inputs(few).shape)
        with torch_seeded(seed, "weights"):
            network = _function(self.factory)[0](shape[1:], examples.num_classes)
        if not isinstance(network, nn.Module):
            raise TypeError(f"{self.factory} must return a torch.nn.Module, got {type(network).__name__}")
        _check_output(self.factory, network, few, (shape[0], examples.num_classes), shape)
        return network


def _check_output(
    path: str, network: nn.Module, few: Tensor, expected: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    """Refuse a network whose outputs are no logits of the classes."""
    with evaluation_mode(network), torch.no_grad():
        try:
            logits = network(network_inputs(few))
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"the network of {path} cannot read inputs of shape {shape}: {error}") from error
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != expected:
        raise ValueError(
            f"the network of {path} must return logits of shape {expected} for inputs of shape {shape}, got {found}"
        )
    if not torch.isfinite(logits).all():
        raise ValueError(f"the network of {path} returns logits that are not finite")


@cache
def _function(path: str) -> tuple[Make, str]:
    """The function at an import path, and the hash of its module's source.

    Raises:
        ValueError: the path is malformed, or its module or function cannot be found.
    """
    name, colon, function = path.partition(":")
    if not (colon and function.isidentifier() and all(part.isidentifier() for part in name.split("."))):
        raise ValueError(f"factory must be module:function, such as my_pkg.nets:make, got {path!r}")
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"factory {path!r}: there is no module {error.name!r}; install it, or put its folder on PYTHONPATH"
        ) from error
    make = getattr(module, function, None)
    if not callable(make):
        offered = ", ".join(one for one in vars(module) if not one.startswith("_")) or "nothing"
        raise ValueError(f"factory {path!r}: {name} has no function {function!r}; it has {offered}")
    return make, _source_hash(module, path)


def _source_hash(module: ModuleType, path: str) -> str:
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise ValueError(f"factory {path!r}: {module.__name__} has no Python source to hash") from error
    return sha256(source.encode()).hexdigest()[:32]
