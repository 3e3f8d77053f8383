"""Step: the score columns of a data set, side by side, as `scored.<data set>` shows them."""

from collections.abc import Iterator

from flows.step import Progress, Step
from storage.store import Store


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Write which scores stand in which column; the scores themselves are not copied."""
    columns = dict(step.request.settings["columns"])
    with store.write(step.request) as draft:
        draft.meta.update({"dataset": step.request.inputs["dataset"], "columns": columns})
    yield Progress(done=len(columns), total=len(columns), unit="columns")
