"""Plan of columns: which score columns a data set has already, and why one of them is not used again."""

from flows.revisions import outdated
from storage.errors import NotFoundError
from storage.store import Store


def newest_columns(store: Store, name: str, dataset: str) -> dict[str, str]:
    """Ids of the scores in the newest `scored` version, by column; none if that is of another data set."""
    try:
        newest = store.record(store.version("scored", name).artifact)
    except NotFoundError:
        return {}
    return dict(newest.meta["columns"]) if newest.meta["dataset"] == dataset else {}


def outdated_text(store: Store, name: str, dataset: str, column: str) -> str:
    """The end of a sentence on a score that is missing: why a stored column of that name is not used, if so."""
    artifact = newest_columns(store, name, dataset).get(column)
    if artifact is None and store.knows("scored", name):
        newest = store.record(store.version("scored", name).artifact)
        if column in newest.meta["columns"]:
            return (
                f"; scored.{name} has it for other rows ({newest.meta['dataset']}) than these: give the recipe its "
                "scorer, or bring what new rows have with `tamis ingest-signals --append`"
            )
    reason = None if artifact is None else outdated(store, artifact)
    return "" if reason is None else f"; the stored column is outdated ({reason}), so give the recipe its scorer"
