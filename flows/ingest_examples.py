"""Step: a source of examples becomes a data set; what breaks the data contract goes to quarantine."""

from collections.abc import Iterator

from flows.config import build
from flows.step import Progress, Step
from storage.contract import Contract
from storage.ingest.source import Source
from storage.ingest.write import ingest_examples
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Stream the source into the store, with the rows done so far."""
    request, settings = step.request, step.request.settings
    with store.write(request) as draft:
        for report in ingest_examples(
            draft,
            name=settings["name"],
            source=Source(location=step.hints["location"], format=settings["source"]["format"]),
            roles=build(Roles, settings["columns"], "columns"),
            splits=build(SplitFractions, settings["splits"], "splits"),
            contract=build(Contract, settings["contract"], "contract"),
            seed=request.seed or 0,
        ):
            total = report.rows / report.fraction if report.fraction else None
            yield Progress(done=report.rows, total=total, unit="rows")
