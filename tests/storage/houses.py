"""Small stores written by hand, for tests that read them."""

from pathlib import Path

import numpy as np
import polars as pl

from storage.artifacts import Request
from storage.index import ExampleIndex
from storage.schemas import DatasetSchema, Feature
from storage.store import Store
from storage.values import Selection

DATASET = Request(kind="dataset", settings={"name": "toys"})
ROWS = pl.DataFrame(
    {
        "example_id": ["toys:0", "toys:1", "toys:2", "toys:3", "toys:4"],
        "split": ["train", "train", "train", "test", "train"],
        "label": ["cat", "dog", "cat", "dog", "dog"],
        "size": [1.0, 2.0, 3.0, 4.0, 5.0],
        "fur": ["long", "short", "long", "none", "long"],
        "source": ["web", "web", "book", "book", "web"],
    }
)
SCHEMA = DatasetSchema(
    features=(Feature(name="size", kind="number"), Feature(name="fur", kind="category", categories=("long", "short"))),
    classes=("cat", "dog"),
    metadata=("source",),
)


def toy_store(root: Path, rows: pl.DataFrame = ROWS, schema: DatasetSchema = SCHEMA) -> Store:
    store = Store.create(root)
    with store.write(DATASET) as draft:
        draft.add_table("examples", rows)
        draft.meta.update({"schema": schema.to_json(), "counts": {"by_split": {}}})
    store.publish("dataset", "toys", DATASET.id)
    return store


def toy_selection(store: Store, weights: list[float], labels: list[int] | None = None) -> str:
    index = store.dataset("toys").index("train")
    selection = Selection(
        index=ExampleIndex(index.ids),
        weights=np.array(weights, dtype=np.float32),
        reasons=np.array(["kept" if one else "dropped" for one in weights], dtype=object),
        labels=None if labels is None else np.array(labels),
    )
    request = Request(kind="selection", settings={"weights": weights}, inputs={"dataset": DATASET.id})
    store.write_selection(request, selection, {})
    store.publish("subset", "toys-clean", request.id)
    return request.id
