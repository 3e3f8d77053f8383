"""Step: a data set with the rows of a further source behind its own, which stay in their files."""

from collections.abc import Iterator

from flows.config import build
from flows.step import Progress, Step
from storage.append import Wanted, append_examples
from storage.contract import Contract
from storage.ingest.source import Source
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Stream the new rows into the store, with the rows done so far."""
    request, settings = step.request, step.request.settings
    source = Source(
        location=step.hints["location"],
        format=settings["source"]["format"],
        labels=step.hints.get("labels"),
        label_key=settings["source"].get("label_key"),
    )
    wanted = Wanted(
        name=settings["append"],
        roles=build(Roles, settings["columns"], "columns"),
        splits=build(SplitFractions, settings["splits"], "splits"),
        contract=build(Contract, settings["contract"], "contract"),
        seed=request.seed or 0,
    )
    with store.write(request) as draft:
        for report in append_examples(draft, store.dataset(request.inputs["dataset"]), source, wanted):
            total = report.rows / report.fraction if report.fraction else None
            yield Progress(done=report.rows, total=total, unit="rows")
