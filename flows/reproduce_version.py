"""Reproduce: rebuild all that a version stands on in a scratch store, and compare it file by file.

Every record holds its whole request, so nothing but the source is needed from outside. The
first artifact that differs is named, with what differs in it and what may be the reason.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from flows.ingest_examples import source_hints, source_settings
from flows.report.differing import table_difference
from flows.revisions import method_kind, method_moved_on
from flows.step import Show, Step, run_step
from storage.artifacts import Record, software_versions
from storage.errors import SourceError, TamisError
from storage.ingest.location import known_formats
from storage.ingest.source import Source
from storage.lineage import ancestry
from storage.schemas import SCHEMA_VERSION
from storage.store import Store
from storage.versions import Version

_MODULES = {
    "signals": "examine_examples",
    "training": "train_learner",
    "scores": "score_examples",
    "scored": "assemble_scores",
    "selection": "select_examples",
    "evaluation": "evaluate_learner",
    "model": "publish_model",
    "report": "compare_subsets",
}
_DATASET_MODULES = {
    "append": "append_examples",
    "relabel": "relabel_examples",
    "source": "ingest_examples",
    "limit": "sample_examples",
    "noise": "plant_noise",
    "embedding": "embed_examples",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One artifact, rebuilt and compared."""

    artifact: str
    difference: str | None
    """What differs and why, in one sentence; None if every hash is equal."""


def reproduce_version(store: Store, version: Version, locations: Sequence[str], show: Show) -> Iterator[Check]:
    """Rebuild what a version stands on, inputs first, until something differs.

    What needs no rebuilding is checked first: revisions of the methods and content of the sources.

    Args:
        store: where the version is; it is only read.
        version: what to rebuild.
        locations: where sources lie now, if not at the place recorded; recognised by their content.
        show: told of the progress of each step.

    Yields:
        A check for every artifact that was rebuilt; one with a difference is the last.

    Raises:
        ValueError: an artifact was not made by a step, so there is nothing to run again.
        SourceError: a source is at none of the places.
    """
    records = ancestry(store.artifacts, version.artifact)
    with tempfile.TemporaryDirectory(prefix="tamis-reproduce-") as place:
        scratch = Store.create(place)
        steps = []
        for record in records:
            found = _moved_on(record)
            hints: Mapping[str, Any] = {}
            if "source" in record.request.settings:
                found, hints = _source(record, locations, scratch)
            if found is not None:
                yield Check(artifact=record.id, difference=found)
                return
            steps.append(_step(record, hints))
        for record, step in zip(records, steps, strict=True):
            try:
                run_step(scratch, step, None, show)
                found = _difference(store, scratch, record)
            except (TamisError, ValueError, FloatingPointError) as error:
                found = f"it could not be rebuilt: {error}{_packages(record)}"
            yield Check(artifact=record.id, difference=found)
            if found is not None:
                return


def number_of_artifacts(store: Store, version: Version) -> int:
    """How many artifacts a version stands on, itself included."""
    return len(ancestry(store.artifacts, version.artifact))


def _step(record: Record, hints: Mapping[str, Any]) -> Step:
    """The step that made an artifact."""
    request = record.request
    made_by = [module for key, module in _DATASET_MODULES.items() if key in request.settings]
    module = made_by[0] if request.kind == "dataset" and made_by else _MODULES.get(request.kind)
    method = method_kind(request)
    if method == "rebalancer":
        module = "rebalance_examples"
    if "given" in request.settings:
        module, method = "ingest_signals", None
    if "array" in request.settings:
        method = None
    if module is None or (method is not None and method not in request.settings):
        raise ValueError(
            f"{record.id} cannot be rebuilt: no step makes a {request.kind} from the settings "
            f"{', '.join(request.settings) or 'none'}; it was brought in by hand"
        )
    return Step(title=f"rebuild {record.id}", module=module, request=request, hints=hints)


def _moved_on(record: Record) -> str | None:
    """What is new in how such an artifact is made: its method is gone or has changed, or the layout of tables has."""
    if record.id != record.request.id_under(record.schema_version):
        return (
            f"seed or settings: its record gives the id {record.request.id_under(record.schema_version)}, so its seed "
            f"({record.request.seed}), settings or inputs are not those it was made with"
        )
    if record.id != record.request.id:
        return f"schema version: the artifact was written under {record.schema_version}, now it is {SCHEMA_VERSION}"
    return method_moved_on(record.request)


def _source(record: Record, locations: Sequence[str], scratch: Store) -> tuple[str | None, Mapping[str, Any]]:
    """Where the source with the recorded content lies; else what differs in the one that was found."""
    noted = dict(record.meta.get("source", {}))
    wanted = record.request.settings["source"]
    if wanted["format"] not in known_formats():
        raise ValueError(f"{record.id} cannot be rebuilt: it was made from {wanted['format']}, which keeps no source")
    missing: SourceError | None = None
    found: dict[str, Any] = {}
    known = {one.name: noted[one.name] for one in fields(Source) if one.name in noted}
    seconds = (*locations, known["labels"]) if known.get("labels") else (None,)
    for location, second in product((*locations, *filter(None, [noted.get("location")])), seconds):
        source = Source(**{**known, "location": location, "labels": second})
        try:
            settings = source_settings(source, scratch.files)
        except SourceError as error:
            missing = error
            continue
        if settings == wanted:
            return None, source_hints(source)
        found[location] = settings
    if not found:
        raise SourceError(f"{missing}; if the source has moved, name its place with --location")
    location, settings = next(iter(found.items()))
    changed = next(name for name in wanted if settings.get(name) != wanted[name])
    return f"data: the {changed} of {location} was {wanted[changed]} and is {settings.get(changed)}", {}


def _difference(store: Store, scratch: Store, record: Record) -> str | None:
    """What differs between an artifact's files and those of its rebuilt twin, if anything does."""
    twin = scratch.record(record.id)
    tables = [list(dict.fromkeys(file.table for file in one.files)) for one in (record, twin)]
    if sorted(tables[0]) != sorted(tables[1]):
        return f"tables: it had {', '.join(tables[0])} and has {', '.join(tables[1])}{_packages(record)}"
    extended = record.meta.get("computed") != twin.meta.get("computed")
    for table in tables[0]:
        if table == "state" and extended:
            continue  # what the next rows will need, which may be laid out otherwise
        if [file.sha256 for file in record.table(table)] == [file.sha256 for file in twin.table(table)]:
            continue
        found = table_difference(store, scratch, record, twin, table)
        if found is not None:
            return found + _packages(record)
    return None


def _packages(record: Record) -> str:
    """Which packages have another version than when the artifact was made, as the end of a sentence."""
    now = software_versions()
    changed = [
        f"{name} was {record.versions.get(name, 'absent')} and is {now.get(name, 'absent')}"
        for name in dict.fromkeys((*record.versions, *now))
        if record.versions.get(name) != now.get(name)
    ]
    return f"; package versions: {', '.join(changed)}" if changed else ""
