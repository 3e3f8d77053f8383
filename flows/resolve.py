"""Resolve: from a method's name in a recipe to its class, importing just that method's file.

There is no registry: a scorer named `el2n` is the public dataclass in `curation/scorers/el2n.py`.
"""

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

from flows.config import build

KINDS = {
    "examiner": "curation.examiners",
    "scorer": "curation.scorers",
    "selector": "curation.selectors",
    "rebalancer": "curation.rebalance",
    "learner": "learners.methods",
    "model": "learners.models",
}
"""Where the methods of each kind live, one file each."""

NOISE = "curation.noise"
EMBEDDERS = ("learners.embed", "curation.latent_ngrams")


def available(kind: str) -> list[str]:
    """Names of the methods of a kind, sorted, without importing them."""
    package = import_module(KINDS[kind])
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def method_class(kind: str, name: str) -> type[Any]:
    """The class behind a method's name.

    Raises:
        ValueError: there is no such method; the message lists those that exist.
    """
    names = available(kind)
    if name not in names:
        raise unknown_method(kind, name, names)
    return _public_dataclass(import_module(f"{KINDS[kind]}.{name}"))


def method(kind: str, settings: Mapping[str, Any], where: str) -> Any:
    """A method with its settings, from `{"method": name, ...}`.

    Raises:
        ValueError: the method or one of its settings does not exist or is not allowed.
    """
    values = dict(settings)
    name = values.pop("method", None)
    if not isinstance(name, str):
        raise ValueError(f"{where}.method is missing; {kind}s are {', '.join(available(kind))}")
    return build(method_class(kind, name), values, where)


def noise(settings: Mapping[str, Any], where: str) -> Any:
    """A way to plant wrong labels, from `{"method": name, ...}`."""
    values = dict(settings)
    name = values.pop("method", None)
    classes = {_snake(one.__name__): one for one in _dataclasses(import_module(NOISE))}
    if name not in classes:
        raise unknown_method("noise", str(name), sorted(classes))
    return build(classes[name], values, where)


def embedder(settings: Mapping[str, Any], where: str) -> Any:
    """What embeds a text column: an examiner of texts, a fitted map or a network; from `{"method": name, ...}`.

    Raises:
        ValueError: the method or one of its settings does not exist or is not allowed.
    """
    values = dict(settings)
    name = values.pop("method", None)
    networks = {_snake(one.__name__): one for module in EMBEDDERS for one in _dataclasses(import_module(module))}
    examiners = {} if name in networks else {one: method_class("examiner", one) for one in available("examiner")}
    classes = networks | {one: kind for one, kind in examiners.items() if _embeds(kind)}
    if name not in classes:
        raise unknown_method("embedder", str(name), sorted(classes))
    return build(classes[name], values, where)


def described(kind: str, settings: Mapping[str, Any], where: str) -> tuple[dict[str, Any], int]:
    """A method's settings with every default written out, and its revision: what an artifact's id hashes."""
    instance = method(kind, settings, where)
    return {"method": settings["method"], **plain(instance)}, int(getattr(instance, "revision", 1))


def plain(instance: Any) -> dict[str, Any]:
    """A frozen dataclass of settings as JSON values.

    A field whose metadata says `left_out_at_default`, such as one that came later than results that it does not
    change, is left out where it has its default.
    """
    values = {one.name: getattr(instance, one.name) for one in fields(instance) if one.init}
    left_out = {one.name: one.default for one in fields(instance) if one.metadata.get("left_out_at_default")}
    return {
        name: msgspec.to_builtins(value)
        for name, value in values.items()
        if name not in left_out or value != left_out[name]
    }


def unknown_method(kind: str, name: str, names: list[str]) -> ValueError:
    """The error for a method that does not exist."""
    return ValueError(f"there is no {kind} {name!r}; there are {', '.join(names)}")


def _embeds(examiner: type[Any]) -> bool:
    """Whether an examiner makes embeddings of a text column, and nothing else."""
    return examiner.gives == ("embedding",) and "column" in (one.name for one in fields(examiner))


def _public_dataclass(module: ModuleType) -> type[Any]:
    found = _dataclasses(module)
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one public method class, found {len(found)}")
    return found[0]


def _dataclasses(module: ModuleType) -> list[type[Any]]:
    return [
        one
        for name, one in inspect.getmembers(module, inspect.isclass)
        if is_dataclass(one) and one.__module__ == module.__name__ and not name.startswith("_")
    ]


def _snake(name: str) -> str:
    return "".join(
        f"_{letter.lower()}" if letter.isupper() and place else letter.lower() for place, letter in enumerate(name)
    )
