"""Growth: from which data sets a data set came by appending rows or correcting labels."""

from collections.abc import Iterator
from dataclasses import dataclass

from storage.artifacts import Artifacts, File, Record


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A data set whose rows, all of them and first, are rows of a later one."""

    record: Record
    relabelled: bool
    """Whether labels were corrected since, so that rows of both may have another label."""


def grown_from(artifacts: Artifacts, dataset: str) -> Iterator[Ancestor]:
    """The data sets that this one grew from, nearest first; none if it was made in another way.

    Args:
        artifacts: of the store.
        dataset: id of a data set.

    Raises:
        NotFoundError: a data set on the way is no longer in the store.
    """
    relabelled = False
    record = artifacts.record(dataset)
    while record.request.settings.keys() & {"append", "relabel"}:
        relabelled = relabelled or "relabel" in record.request.settings
        record = artifacts.record(record.request.inputs["dataset"])
        yield Ancestor(record=record, relabelled=relabelled)


def files_since(record: Record, earlier: Record, table: str) -> tuple[File, ...]:
    """Files of a table that an earlier artifact does not list, in order."""
    known = {file.path for file in earlier.table(table)}
    return tuple(file for file in record.table(table) if file.path not in known)


def shares_all(record: Record, earlier: Record, table: str) -> bool:
    """Whether an artifact's table begins with all the files of an earlier one's."""
    known = earlier.table(table)
    return record.table(table)[: len(known)] == known
