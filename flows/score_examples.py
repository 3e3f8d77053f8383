"""Step: scores of the training split, from what a learner's seeds recorded."""

import time
from collections.abc import Iterator

from flows import resolve
from flows.step import Progress, Step
from storage.dataset import Dataset
from storage.store import Store
from storage.values import Array, Signals


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Hand the signals that the scorer reads to the scorer, and publish what it returns."""
    began = time.perf_counter()
    request = step.request
    scorer = resolve.method("scorer", request.settings["scorer"], "scorer")
    signals = read_signals(store, dict(request.inputs), scorer.reads)
    scores = scorer(signals)
    store.write_scores(request, scores, {"scorer": request.settings["scorer"]}, seconds=time.perf_counter() - began)
    yield Progress(done=len(scores), total=len(scores), unit="examples")


def read_signals(store: Store, inputs: dict[str, str], names: tuple[str, ...]) -> Signals:
    """Signals of the trainings among an artifact's inputs, with the given labels of the data set."""
    dataset = store.dataset(inputs["dataset"])
    trainings = [inputs[role] for role in sorted(inputs) if role.startswith("signals.")]
    return store.signals(trainings, names, what_is_given(dataset))


def what_is_given(dataset: Dataset) -> dict[str, Array]:
    """`label` and `group` (N,) of the training split, as far as the data set has them."""
    given = {"label": dataset.labels("train"), "group": dataset.groups("train")}
    return {name: values for name, values in given.items() if values is not None}
