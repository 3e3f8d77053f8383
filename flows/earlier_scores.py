"""Earlier scores: what a score of a grown data set can build on, found by the ids it would have."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from storage.artifacts import Record, Request
from storage.growth import grown_from, shares_all
from storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Scores of the first rows of a data set, by the same method and from the same signals of those rows."""

    scores: Record
    dataset: Record
    signals: Record | None
    """Whose files are the first files of the signals now (or of the score that is read); None where learners
    recorded the signals."""


def signals_role(request: Request) -> str:
    """The input that scores are computed from: the first of the signals, or another score."""
    return "score" if "score" in request.inputs else min(one for one in request.inputs if one.startswith("signals."))


def earlier_scores(store: Store, request: Request, reads: tuple[str, ...]) -> Earlier | None:
    """The newest earlier scores that these can extend, or None if all must be computed.

    Args:
        store: has the data set and the signals.
        request: of the scores wanted.
        reads: signals that the scorer reads; where `label` is one, corrected labels end the search.
    """
    start = request.inputs.get("earlier")
    for ancestor in grown_from(store.artifacts, request.inputs["dataset"]):
        if ancestor.relabelled and "label" in reads:
            return None
        dataset = ancestor.record
        if start is not None and store.record(start).request.inputs["dataset"] == dataset.id:
            return _usable(store, start, dataset, request)
        for wanted in _ids_before(store, request, dataset.id):
            found = _usable(store, wanted, dataset, request)
            if found is not None:
                return found
    return None


def _ids_before(store: Store, request: Request, dataset: str) -> Iterator[str]:
    """Ids that scores asked for alike would have for an earlier data set; there may be none of them."""
    role = signals_role(request)
    inputs = {**request.inputs, "dataset": dataset}
    source = store.record(request.inputs[role])
    if source.kind == "training":
        if "earlier" in inputs:
            yield replace(request, inputs=inputs).id
        return
    if source.kind == "scores":
        before = list(_ids_before(store, source.request, dataset))
    elif "given" in source.request.settings:
        before = [source.id]
        while "signals" in source.request.inputs:
            source = store.record(source.request.inputs["signals"])
            before.append(source.id)
    else:
        before = [replace(source.request, inputs={"dataset": dataset}).id]
    for one in before:
        yield replace(request, inputs={**inputs, role: one}).id


def _usable(store: Store, wanted: str, dataset: Record, request: Request) -> Earlier | None:
    """Scores that the store has, if what they were computed from are the first files of what there is now."""
    if not store.has(wanted):
        return None
    scores, role = store.record(wanted), signals_role(request)
    now, before = store.record(request.inputs[role]), store.record(scores.request.inputs[role])
    if now.kind == "training":
        return Earlier(scores=scores, dataset=dataset, signals=None)
    return Earlier(scores=scores, dataset=dataset, signals=before) if shares_all(now, before, now.kind) else None
