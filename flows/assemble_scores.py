"""Step: the score columns of a data set, side by side, as `scored.<data set>` shows them."""

from collections.abc import Iterator

from flows.config import check_beside_metadata
from flows.step import Progress, Step
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Write which scores stand in which column; the scores themselves are not copied.

    Raises:
        ValueError: the data set has a metadata column of a score's name; nothing is written.
    """
    columns = dict(step.request.settings["columns"])
    dataset = step.request.inputs["dataset"]
    check_beside_metadata(tuple(columns), store.dataset(dataset).schema.metadata)
    with store.write(step.request) as draft:
        draft.meta.update({"dataset": dataset, "columns": columns})
    yield Progress(done=len(columns), total=len(columns), unit="columns")
