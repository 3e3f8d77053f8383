"""Revisions: whether the methods that made an artifact are still what they were then."""

from collections.abc import Iterator, Mapping
from typing import Any

from flows import resolve
from storage.artifacts import Request
from storage.errors import NotFoundError
from storage.lineage import ancestry
from storage.store import Store

_METHOD_KINDS = {
    "signals": "examiner",
    "training": "learner",
    "scores": "scorer",
    "selection": "selector",
    "evaluation": "learner",
}


def method_kind(request: Request) -> str | None:
    """What kind of method makes such an artifact; its settings stand in the request under that word."""
    if request.kind == "selection" and "rebalancer" in request.settings:
        return "rebalancer"
    return _METHOD_KINDS.get(request.kind)


def method_moved_on(request: Request) -> str | None:
    """What is new in the methods that a request names: one is gone, or has another revision; None if neither."""
    return next(_moved_on(request), None)


def outdated(store: Store, artifact_id: str) -> str | None:
    """What is new in the methods behind an artifact, its own or those of all that it was made from, if anything is.

    An artifact that was made from one that is gone is outdated too: it could not be made again as it stands.
    """
    try:
        records = list(ancestry(store.artifacts, artifact_id))
    except NotFoundError as error:
        return f"origin: {error}"
    return next((one for record in records for one in _moved_on(record.request)), None)


def _moved_on(request: Request) -> Iterator[str]:
    for kind, described, revision in _methods(request):
        name = str(described["method"])
        if name not in resolve.available(kind):
            yield f"method: there is no {kind} {name!r} any more"
            continue
        now = int(getattr(resolve.method_class(kind, name), "revision", 1))
        if now != revision:
            yield f"method revision: {kind} {name!r} had revision {revision} and has {now} now"


def _methods(request: Request) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Kind, settings and revision of each method that a request names; none where a user brought the numbers."""
    kind = method_kind(request)
    if kind is not None and isinstance(request.settings.get(kind), Mapping):
        yield kind, request.settings[kind], request.revision
    embedding = request.settings.get("embedding")
    if isinstance(embedding, Mapping) and embedding["method"] in resolve.available("examiner"):
        yield "examiner", embedding, request.revision
    if request.kind == "training" and isinstance(request.settings.get("model"), Mapping):
        yield "model", request.settings["model"], int(request.settings.get("model_revision", 1))
