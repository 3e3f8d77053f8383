"""Finds every method of a package by walking it, as recipes do: one public class of the kind a file."""

import importlib
import pkgutil
from dataclasses import fields
from types import ModuleType
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def modules(package: str) -> list[ModuleType]:
    """All modules directly inside a package, imported."""
    parent = importlib.import_module(package)
    return [importlib.import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(parent.__path__)]


def public_classes(module: ModuleType, kind: type[Kind]) -> list[type[Kind]]:
    """Public classes of a kind that a module defines itself."""
    return [
        member
        for name, member in vars(module).items()
        if isinstance(member, type)
        and issubclass(member, kind)
        and member.__module__ == module.__name__
        and not name.startswith("_")
    ]


def implementations(package: str, kind: type[Kind]) -> list[type[Kind]]:
    """The one public class of the kind in each module of a package."""
    found = []
    for module in modules(package):
        classes = public_classes(module, kind)
        assert len(classes) == 1, f"{module.__name__} must define one public {kind.__name__}, got {classes}"
        found.append(classes[0])
    return found


def build(method: type[Kind], **settings: Any) -> Kind:
    """An instance with those of the settings that the method has."""
    known = {field.name for field in fields(method)}  # type: ignore[arg-type]
    return method(**{name: value for name, value in settings.items() if name in known})
