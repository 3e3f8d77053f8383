"""Step: a source of examples becomes a data set; what breaks the data contract goes to quarantine."""

from collections.abc import Iterator, Mapping
from typing import Any

from flows.config import build
from flows.step import Progress, Step
from storage.contract import Contract
from storage.files import Files
from storage.ingest.source import Source, fingerprint
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
            source=Source(
                location=step.hints["location"],
                format=settings["source"]["format"],
                labels=step.hints.get("labels"),
                label_key=settings["source"].get("label_key"),
            ),
            roles=build(Roles, settings["columns"], "columns"),
            splits=build(SplitFractions, settings["splits"], "splits"),
            contract=build(Contract, settings["contract"], "contract"),
            seed=request.seed or 0,
        ):
            total = report.rows / report.fraction if report.fraction else None
            note = f"{report.warned} warnings" if report.warned else ""
            yield Progress(done=report.rows, total=total, unit="rows", note=note)


def source_settings(source: Source, files: Files) -> dict[str, Any]:
    """What of a source decides the data set: its content and how it is read, not where it lies."""
    settings = {"format": source.kind(), "fingerprint": fingerprint(source, files)}
    return settings if source.labels is None else {**settings, "label_key": source.label_key}


def source_hints(source: Source) -> Mapping[str, Any]:
    """Where a source lies, for the step that reads it."""
    return {"location": source.location} | ({} if source.labels is None else {"labels": source.labels})
