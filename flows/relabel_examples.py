"""Step: a data set with labels corrected by hand, remembering who corrected which and why."""

from collections.abc import Iterator
from dataclasses import asdict

from flows.step import Progress, Step
from storage.ingest.source import Source
from storage.relabel import read_corrections, relabel
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Write a label layer over the input data set; its rows are shared, not copied."""
    request, settings = step.request, step.request.settings
    source = Source(location=step.hints["location"], format=settings["source"]["format"])
    said = settings["relabel"]
    dataset = store.dataset(request.inputs["dataset"])
    corrections = read_corrections(source, said["name"], own_key=dataset.own_key(), by=said["by"], why=said["why"])
    with store.write(request) as draft:
        relabel(draft, dataset, corrections)
        draft.meta["source"] = {**draft.meta.get("source", {}), **asdict(source)}
    yield Progress(done=len(corrections.rows), total=len(corrections.rows), unit="labels")
