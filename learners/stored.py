"""Stored models: ready networks from the weights and the card that a store keeps, without any training data.

    from learners.stored import load_networks, predicted_logits
    from storage import Store

    weights, card = Store.open("tamis-store").model("digits-elr@1")
    networks = load_networks(weights, card)
    logits = predicted_logits(networks, images)

A card names the model's file and its settings; only files of `learners/models/` are ever imported for it, and for the
model `factory` the user's own module.
"""

import math
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from inspect import isclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import nn

import learners.models
from learners.batches import input_tensor
from learners.checkpoint import load_model
from learners.evaluate import evaluation_logits
from learners.model import Model
from storage.index import ExampleIndex
from storage.values import Array, Examples

_ROWS = 2


def load_networks(
    weights: Mapping[str, Array], card: Mapping[str, Any], *, input_shape: Sequence[int] | None = None
) -> list[nn.Module]:
    """The networks that predict together: their logits are averaged. They are in evaluation mode.

    Args:
        weights: arrays `models/0/<tensor>`, as `Store.model` gives them; the means and deviations that a network
            standardises by are among them.
        card: has `model` (a method and its settings), `classes` and, for a version, `input_shape`.
        input_shape: (H, W) or (H, W, C) of an image, or (D,) of a row; None takes the card's.

    Returns:
        One network, or as many as the learner trained, on the CPU.

    Raises:
        ValueError: the card lacks something, names no model, or the weights do not fit it.
    """
    shape = card.get("input_shape") if input_shape is None else input_shape
    for name, found in (("model", card.get("model")), ("classes", card.get("classes")), ("input_shape", shape)):
        if not found:
            raise ValueError(f"the card of the model lacks {name!r}, without which no network can be built")
    examples = _made_up(tuple(shape or ()), tuple(card["classes"]))
    model = _model(card["model"])
    networks = []
    for number in range(1 + max((int(name.split("/")[1]) for name in weights), default=-1)):
        network = model.build(examples, 0)
        try:
            load_model(network, weights, model=number)
        except RuntimeError as error:
            raise ValueError(
                f"the weights do not fit the model {card['model']['method']!r} of {len(card['classes'])} classes and "
                f"inputs of shape {tuple(shape or ())}: {' '.join(str(error).split())}"
            ) from error
        networks.append(network.eval())
    if not networks:
        raise ValueError("the model has no weights")
    return networks


def predicted_logits(networks: Sequence[nn.Module], inputs: Array, *, batch_size: int = 500) -> NDArray[np.float32]:
    """Evaluation-mode logits of rows, averaged over the networks.

    Args:
        networks: of `load_networks`.
        inputs: (N, H, W) or (N, H, W, C) uint8 images, or (N, D) float32 features; N at least 1.
        batch_size: rows per forward pass, at least 1.

    Returns:
        (N, K) float32.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return evaluation_logits(networks, input_tensor(inputs), batch_size).numpy()


def _made_up(shape: tuple[int, ...], classes: tuple[str, ...]) -> Examples:
    """Examples of a shape, from whose values nothing of the built network stays once weights are loaded."""
    values = np.arange(_ROWS * math.prod(shape)).reshape(_ROWS, *shape)
    return Examples(
        index=ExampleIndex(map(str, range(_ROWS))),
        inputs=(values % 256).astype(np.uint8) if len(shape) > 1 else np.sin(values).astype(np.float32),
        labels=None,
        classes=classes,
    )


def _model(settings: Mapping[str, Any]) -> Model:
    """The model that settings with a `method` describe."""
    values = dict(settings)
    name = values.pop("method", None)
    known = sorted(one.name for one in pkgutil.iter_modules(learners.models.__path__))
    if name not in known:
        raise ValueError(f"there is no model {name!r} any more; there are {', '.join(known)}")
    module = import_module(f"learners.models.{name}")
    (kind,) = [
        one
        for one in vars(module).values()
        if isclass(one) and issubclass(one, Model) and one.__module__ == module.__name__
    ]
    known_settings = {one.name for one in fields(kind) if one.init}  # type: ignore[arg-type]
    unknown = [one for one in values if one not in known_settings]
    if unknown:
        raise ValueError(
            f"the model {name!r} has no setting {unknown[0]!r} any more; an older tamis made these weights"
        )
    try:
        built: Model = msgspec.convert(values, type=kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"the settings of the model {name!r} cannot be read: {error}") from error
    return built
