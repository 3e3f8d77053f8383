"""Step: a data set with wrong labels planted in its training split, the truth kept as `clean_label`."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from curation.noise import flip_labels, realised_rate
from flows import resolve
from flows.step import Progress, Step
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Write a label layer over the input data set; its rows are shared, not copied."""
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    if not dataset.schema.classes:
        raise ValueError("noise is planted in labels, and this data set has none")
    kind = resolve.noise(request.settings["noise"], "noise")
    rows = dataset.scan().select("example_id", "split", "label").collect()
    train = (rows["split"] == "train").to_numpy()
    clean = dataset.labels("train")
    assert clean is not None
    flipped = flip_labels(clean, kind.matrix(len(dataset.schema.classes)), np.random.default_rng(request.seed))
    names = pl.Series(dataset.schema.classes).cast(rows["label"].dtype)
    labels = rows["label"].clone()
    labels = labels.scatter(np.flatnonzero(train), names.gather(flipped))
    layer = pl.DataFrame({"example_id": rows["example_id"], "label": labels, "clean_label": rows["label"]})
    with store.write(request) as draft:
        draft.share(dataset.record.table("examples"))
        draft.add_table("labels", layer)
        schema = replace(dataset.schema, has_clean_label=True)
        draft.meta.update(
            {
                **dataset.record.meta,
                "schema": schema.to_json(),
                "noise": {**request.settings["noise"], "realised_rate": realised_rate(flipped, clean)},
            }
        )
    yield Progress(done=len(clean), total=len(clean), unit="labels")
