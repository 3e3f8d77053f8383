"""Step: a user's arrays per example become signals, or one of them a score column."""

from collections.abc import Iterator

from flows.step import Progress, Step
from storage.given_signals import Wish, fill_signals
from storage.ingest.source import Source, open_format
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Stream the arrays into the store, with the rows done so far."""
    request = step.request
    given = request.settings["given"]
    source = Source(location=step.hints["location"], format=request.settings["source"]["format"])
    earlier = request.inputs.get("signals")
    with store.write(request) as draft:
        for report in fill_signals(
            draft,
            store.dataset(request.inputs["dataset"]),
            open_format(source),
            source.location,
            Wish(take=given["take"], classes=tuple(given["classes"])),
            store.record(earlier) if earlier else None,
        ):
            total = report.read / report.fraction if report.fraction else None
            yield Progress(done=report.read, total=total, unit="rows")
        draft.meta["source"] = {"location": source.location, "format": source.kind()}
