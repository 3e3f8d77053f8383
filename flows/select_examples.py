"""Step: a selection over the training split, published as a subset."""

import time
from collections.abc import Iterator

import numpy as np

from flows import resolve
from flows.score_examples import what_is_given
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
