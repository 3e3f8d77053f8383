"""Step: a data set with wrong labels planted where labels are learnt and chosen by, the truth kept as `clean_label`.

The validation split is as noisy as the training split, since nobody has clean labels to choose by; the test split is
left alone.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from curation.noise import flip_labels, realised_rate
from flows import resolve
from flows.step import Progress, Step
from storage.store import Store

NOISY_SPLITS = ("train", "validation")
"""Splits whose labels are made wrong."""


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Write a label layer over the input data set; its rows are shared, not copied."""
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    if not dataset.schema.classes:
        raise ValueError("noise is planted in labels, and this data set has none")
    kind = resolve.noise(request.settings["noise"], "noise")
    rows = dataset.scan().select("example_id", "split", "label").collect()
    names = pl.Series(dataset.schema.classes).cast(rows["label"].dtype)
    labels = rows["label"].clone()
    rates = {}
    for number, split in enumerate(NOISY_SPLITS):
        clean = dataset.labels(split)
        assert clean is not None
        draws = np.random.default_rng([request.seed or 0, number])
        flipped = flip_labels(clean, kind.matrix(len(dataset.schema.classes)), draws)
        labels = labels.scatter(np.flatnonzero(rows["split"] == split), names.gather(flipped))
        rates[split] = realised_rate(flipped, clean) if len(clean) else 0.0
    layer = pl.DataFrame({"example_id": rows["example_id"], "label": labels, "clean_label": rows["label"]})
    with store.write(request) as draft:
        draft.share(dataset.record.table("examples"))
        draft.add_table("labels", layer)
        schema = replace(dataset.schema, has_clean_label=True)
        draft.meta.update(
            {
                **dataset.record.meta,
                "schema": schema.to_json(),
                "noise": {**request.settings["noise"], "realised_rate": rates["train"]},
            }
        )
    yield Progress(done=len(rows), total=len(rows), unit="labels")
