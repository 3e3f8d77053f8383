"""Ingest by hand: what `tamis ingest` does with its options."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from flows import resolve
from flows.seeding import derived_seed
from flows.step import Show, Step, run_step
from storage.artifacts import Request
from storage.contract import Contract
from storage.files import check_name
from storage.ingest.source import Source, fingerprint
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store


def ingest_location(
    store: Store,
    location: str,
    name: str,
    columns: Mapping[str, Any],
    progress: Callable[[int], AbstractContextManager[Show]],
) -> str:
    """Read a source into the next version of a data set.

    Args:
        store: where it goes.
        location: file or bundled set.
        name: the data set's name.
        columns: the options of `tamis ingest`, by name.
        progress: opens a display for a number of steps.

    Returns:
        One sentence with the version and the counts.
    """
    check_name(name)
    source = Source(location=location, format=columns["source_format"])
    shape = columns["image_shape"]
    roles = Roles(
        features=columns["features"],
        text=columns["text"],
        label=columns["label"],
        key=columns["key"],
        split=columns["split"],
        group=columns["group"],
        clean_label=columns["clean_label"],
        image_shape=_shape(shape) if shape else None,
    )
    request = Request(
        kind="dataset",
        settings={
            "name": name,
            "source": {"format": source.kind(), "fingerprint": fingerprint(source, store.files)},
            "columns": resolve.plain(roles),
            "splits": resolve.plain(SplitFractions()),
            "contract": resolve.plain(Contract(action=columns["on_bad_rows"])),
        },
        seed=derived_seed(columns["seed"], "splits"),
    )
    step = Step(
        title=f"ingest {location}",
        module="ingest_examples",
        request=request,
        publish=("dataset", name),
        hints={"location": location},
    )
    with progress(1) as show:
        run_step(store, step, None, show)
    counts = store.record(step.id).meta["counts"]
    sentence = (
        f"{store.version('dataset', name)}: {counts['read']} rows read = {counts['kept']} kept "
        f"+ {counts['quarantined']} quarantined"
    )
    if not counts["quarantined"]:
        return sentence
    rules = ", ".join(f"{rule} {number}" for rule, number in counts["by_rule"].items())
    return f'{sentence} ({rules}); see them with: tamis sql "SELECT * FROM quarantine.{name}"'


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise ValueError(f"--image-shape must look like 28x28 or 32x32x3, got {text!r}") from None
