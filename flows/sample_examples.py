"""Step: a data set with only some of its training examples, drawn by seed; other splits stay whole."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from flows.step import Progress, Step
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Copy the drawn rows; the draw depends on ids and seed, not on the order of the rows."""
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    limit = int(request.settings["limit"])
    ids = dataset.index("train").ids.sort()
    if limit > len(ids):
        raise ValueError(f"limit is {limit}, but the training split has only {len(ids)} examples")
    drawn = ids.gather(np.sort(np.random.default_rng(request.seed).choice(len(ids), limit, replace=False)))
    keep = (pl.col("split") != "train") | pl.col("example_id").is_in(drawn.implode())
    rows = dataset.scan().filter(keep).collect()
    with store.write(request) as draft:
        draft.add_table("examples", rows)
        draft.meta.update({**dataset.record.meta, "limit": limit})
    yield Progress(done=len(rows), total=len(rows), unit="rows")
