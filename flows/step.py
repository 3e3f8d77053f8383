"""Step: one artifact to be made, and the generator protocol by which it is made.

A step's `module` has `perform(store, step)`, a generator that yields `Progress` and ends
when the artifact is published. Steps are plain values: ids in, an id out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from storage.artifacts import Request
from storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a step has come."""

    done: float
    total: float | None
    """None while the end is not known."""
    unit: str
    """What is counted, such as `epochs` or `rows`."""
    note: str = ""
    """A few words on the state, such as the loss."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One artifact to be made."""

    title: str
    """What a person reads while it runs, such as `train elr, seed 2 of 3`."""
    module: str
    """Module of `flows` whose `perform` makes it."""
    request: Request
    """What the artifact is; its id is known before the work."""
    publish: tuple[str, str] | None = None
    """Kind and name of which the artifact becomes the newest version, if it is named."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """What the work needs but the result does not depend on, such as where the source lies."""

    @property
    def id(self) -> str:
        """Id of the artifact."""
        return self.request.id


Show = Callable[[Step, Progress | None], None]
"""Told of every progress of a step; None says that the step has ended."""


def show_nothing(step: Step, progress: Progress | None) -> None:
    """A `Show` for callers that want silence."""


_shown: ContextVar[Show | None] = ContextVar("shown", default=None)


@contextmanager
def showing(show: Show) -> Iterator[None]:
    """Inside the block, `current_show` gives this `Show`: how a display reaches steps that Prefect calls."""
    token = _shown.set(show)
    try:
        yield
    finally:
        _shown.reset(token)


def current_show() -> Show | None:
    """The `Show` of the surrounding `showing` block, or None."""
    return _shown.get()


def is_done(store: Store, step: Step) -> bool:
    """Whether the step's artifact exists and, if it is named, is the name's newest version."""
    if not store.has(step.id):
        return False
    if step.publish is None:
        return True
    kind, name = step.publish
    return name in store.names(kind) and store.version(kind, name).artifact == step.id


def run_step(store: Store, step: Step, recipe: Mapping[str, Any] | None, show: Show) -> str:
    """Make a step's artifact unless it exists, publish it under its name if it has one.

    Returns:
        The artifact's id.
    """
    if not store.has(step.id):
        show(step, Progress(done=0, total=None, unit=""))
        perform: Callable[[Store, Step], Iterator[Progress]] = import_module(f"flows.{step.module}").perform
        for progress in perform(store, step):
            show(step, progress)
    if step.publish is not None:
        kind, name = step.publish
        store.publish(kind, name, step.id, recipe)
    show(step, None)
    return step.id
