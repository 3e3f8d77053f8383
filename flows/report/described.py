"""What `tamis methods` prints: every method with its first line, or one with its settings and source."""

import ast
import inspect
from dataclasses import MISSING, Field, fields
from typing import Any

from rich.console import Console

from flows import resolve
from flows.report.terminal import print_rows


def print_methods(console: Console) -> None:
    """Every method by kind, with the first line of its module."""
    for kind in resolve.KINDS:
        rows = []
        for name in resolve.available(kind):
            module = inspect.getmodule(resolve.method_class(kind, name))
            rows.append({kind: name, "what it does": (inspect.getdoc(module) or "").splitlines()[0]})
        print_rows(f"{kind}s", rows, console)
    console.print("`tamis methods NAME` prints a method's settings and source.")


def print_method(name: str, console: Console) -> None:
    """One method's text and settings.

    Raises:
        ValueError: no kind has a method of that name; the message lists all.
    """
    kinds = [kind for kind in resolve.KINDS if name in resolve.available(kind)]
    if not kinds:
        known = [one for kind in resolve.KINDS for one in resolve.available(kind)]
        raise resolve.unknown_method("method", name, known)
    for kind in kinds:
        found = resolve.method_class(kind, name)
        console.print(f"{kind} {name}", style="bold")
        console.print(inspect.getdoc(inspect.getmodule(found)), markup=False, highlight=False, soft_wrap=True)
        console.print()
        console.print(inspect.getdoc(found), markup=False, highlight=False, soft_wrap=True)
        meanings = field_docs(found)
        rows = [
            {"setting": one.name, "default": _default(one), "meaning": meanings.get(one.name, "")}
            for one in fields(found)
        ]
        print_rows("settings", rows, console)


def field_docs(kind: type[Any]) -> dict[str, str]:
    """The one-line texts below the fields of a dataclass."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def _default(one: "Field[Any]") -> str:
    if one.default is not MISSING:
        return repr(one.default)
    return "required" if one.default_factory is MISSING else repr(one.default_factory())
