"""Step: a selection over the training split, published as a subset."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from curation.decisions import of_condition, select_among
from curation.label_actions import LabelAction
from curation.selector import Selector
from flows import resolve
from flows.config import build
from flows.signal_sources import read_signals, unrecorded_signals, what_is_given
from flows.step import Progress, Step
from storage.artifacts import Request
from storage.dataset import Dataset
from storage.store import Store
from storage.values import Selection, Signals


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Select, and publish the selection."""
    began = time.perf_counter()
    selection = selected(store, step.request)
    asked = {name: step.request.settings[name] for name in _TOLD if name in step.request.settings}
    store.write_selection(step.request, selection, asked, seconds=time.perf_counter() - began)
    yield Progress(done=len(selection), total=len(selection), unit="examples")


_TOLD = ("selector", "where", "flagged")
"""What of a request stands in the selection's record too."""


def selected(store: Store, request: Request) -> Selection:
    """The selection that a request asks for; nothing is written.

    What fails the condition, or is dropped by the label action, is gone before the selector sees it.

    Raises:
        QueryError: the condition cannot be used.
        ValueError: nothing is left or kept, or a score or signal does not fit its reader.
    """
    dataset = store.dataset(request.inputs["dataset"])
    selector: Selector = resolve.method("selector", request.settings["selector"], "selection")
    signals, rng = _signals(store, request, dataset), np.random.default_rng(request.seed)
    action = _action(request.settings)
    scorings = {role.removeprefix("score."): one for role, one in request.inputs.items() if role.startswith("score.")}
    read = {*selector.reads, *([action.score] if action else [])}
    scores = {name: store.scores(artifact) for name, artifact in scorings.items() if name in read}
    decided = []
    if "where" in request.settings:
        from storage.condition import fulfilled, parse_condition

        where = request.settings["where"]
        decided.append(of_condition(fulfilled(store.files, dataset.id, scorings, parse_condition(where)), where))
    if action is not None:
        decided.append(action.decide(signals, scores))
    return select_among(selector, signals, scores, rng, decided)


def _signals(store: Store, request: Request, dataset: Dataset) -> Signals:
    """What the data set has of its training split, and the arrays of signals, or embeddings of a learner, if named."""
    signals = Signals(index=dataset.index("train"), arrays=what_is_given(dataset))
    record = store.record(request.inputs["signals.000"]) if "signals.000" in request.inputs else None
    if record is not None and record.kind == "training":
        signals = read_signals(store, request, ("embedding",))
    elif record is not None:
        have = record.meta["signals"]
        names = tuple(dict.fromkeys((*request.settings.get("names", {}), *have)))
        signals = unrecorded_signals(store, dataset, request, names, None)
    schema = dataset.schema
    return replace(signals, categories={"label": schema.classes, "group": schema.groups})


def _action(settings: Mapping[str, Any]) -> LabelAction | None:
    return build(LabelAction, settings["flagged"], "selection.flagged") if "flagged" in settings else None
