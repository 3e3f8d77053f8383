"""Step: signals that an examiner computes from the examples of the training split, each row from itself alone.

The files of a data set are read one by one. Where a data set was grown and an earlier version was
examined alike, its signals are listed again and only new files are read.
"""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from curation.examiner import INPUTS, Examiner
from flows import resolve
from flows.step import Progress, Step
from storage.artifacts import Request
from storage.dataset import Dataset, input_array
from storage.growth import grown_from
from storage.index import ExampleIndex
from storage.schemas import RESERVED, Feature
from storage.store import Store
from storage.tables import arrays_to_table
from storage.values import Array

BLOCK_ROWS = 1 << 16
"""Most rows examined at once."""


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Examine block after block, with the rows done so far."""
    request = step.request
    examiner: Examiner = resolve.method("examiner", request.settings["examiner"], "signals")
    dataset = store.dataset(request.inputs["dataset"])
    read = _columns(examiner, dataset)
    earlier = _earlier(store, request, dataset, inputs=INPUTS in examiner.reads)
    rows: Dataset | None = dataset
    with store.write(request) as draft:
        draft.meta |= {"examiner": request.settings["examiner"], "computed": "full"}
        if earlier is not None:
            before = store.record(earlier)
            draft.share(before.table("signals"))
            draft.meta |= {"signals": before.meta["signals"], "computed": f"incremental from {earlier}"}
            rows = dataset.since(store.record(before.request.inputs["dataset"]))
        done = 0
        for frame in () if rows is None else rows.blocks("train", read, BLOCK_ROWS):
            index = ExampleIndex(frame["example_id"])
            arrays = examiner(index, _handed(examiner, frame, dataset.schema.features))
            table, described = arrays_to_table(index, arrays)
            draft.add_table("signals", table)
            draft.meta["signals"] = described
            done += len(frame)
            yield Progress(done=done, total=None if rows is None else len(rows), unit="rows")


def _columns(examiner: Examiner, dataset: Dataset) -> tuple[str, ...]:
    """The stored columns that the examiner needs.

    Raises:
        ValueError: the data set has no such text column; the message lists those it has.
    """
    stored = dataset.stored_types()
    known = [name for name, dtype in stored.items() if dtype == pl.String and name not in RESERVED]
    found: list[str] = []
    for name in examiner.reads:
        if name == INPUTS:
            found += [feature.name for feature in dataset.schema.features]
        elif name in known:
            found.append(name)
        else:
            raise ValueError(f"{dataset.id} has no text column {name!r}; it has {', '.join(known) or 'none'}")
    return tuple(dict.fromkeys(found))


def _handed(examiner: Examiner, frame: pl.DataFrame, features: tuple[Feature, ...]) -> dict[str, Array]:
    """What the examiner reads of a block: texts as objects, the features as numbers."""
    return {name: input_array(frame, features) if name == INPUTS else frame[name].to_numpy() for name in examiner.reads}


def _earlier(store: Store, request: Request, dataset: Dataset, *, inputs: bool) -> str | None:
    """Id of the same signals of the nearest earlier version, if it has them and its features are the same."""
    for ancestor in grown_from(store.artifacts, dataset.id):
        wanted = replace(request, inputs={"dataset": ancestor.record.id}).id
        if store.has(wanted):
            same = store.dataset(ancestor.record.id).schema.features == dataset.schema.features
            return wanted if same or not inputs else None
    return None
