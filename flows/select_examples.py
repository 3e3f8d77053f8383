"""Step: a selection over the training split, published as a subset."""

import time
from collections.abc import Iterator

import numpy as np

from flows import resolve
from flows.signal_sources import unrecorded_signals, what_is_given
from flows.step import Progress, Step
from storage.store import Store
from storage.values import Signals


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Hand the scores that the selector reads to the selector, and publish what it returns."""
    began = time.perf_counter()
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    selector = resolve.method("selector", request.settings["selector"], "selection")
    signals = Signals(index=dataset.index("train"), arrays=what_is_given(dataset))
    if "signals.000" in request.inputs:
        have = store.record(request.inputs["signals.000"]).meta["signals"]
        names = tuple(dict.fromkeys((*request.settings.get("names", {}), *have)))
        signals = unrecorded_signals(store, dataset, request, names, None)
    scores = {
        role.removeprefix("score."): store.scores(artifact)
        for role, artifact in request.inputs.items()
        if role.startswith("score.")
    }
    selection = selector(signals, scores, np.random.default_rng(request.seed))
    store.write_selection(
        request, selection, {"selector": request.settings["selector"]}, seconds=time.perf_counter() - began
    )
    yield Progress(done=len(selection), total=len(selection), unit="examples")
