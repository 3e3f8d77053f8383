"""New versions by hand: what `tamis ingest`, `tamis ingest --append` and `tamis relabel` do with their options."""

import tomllib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from flows import resolve
from flows.config import build
from flows.ingest_examples import source_hints, source_settings
from flows.report.tables import broken_rules_text, rows_text
from flows.seeding import derived_seed
from flows.step import Show, Step, run_step
from storage.artifacts import Request, canonical_json
from storage.contract import Contract
from storage.errors import ConflictError, NotFoundError
from storage.files import check_name
from storage.ingest.source import Source
from storage.lineage import ancestry
from storage.schemas import Roles
from storage.splits import SplitFractions
from storage.store import Store
from storage.versions import Version

OpenProgress = Callable[[int], AbstractContextManager[Show]]
"""Opens a display for a number of steps."""

_TRIES = 10
_OF_ROLES = ("features", "text", "label", "key", "split", "group", "clean_label", "image_shape", "image_fit")


def ingest_location(store: Store, location: str, name: str, columns: Mapping[str, Any], progress: OpenProgress) -> str:
    """Read a source into the next version of a data set.

    Args:
        store: where it goes.
        location: file or bundled set.
        name: the data set's name.
        columns: the options of `tamis ingest`, by name.
        progress: opens a display for a number of steps.

    Returns:
        One sentence with the version and the counts.
    """
    check_name(name)
    source = _source(location, columns)
    request = Request(
        kind="dataset",
        settings={
            "name": name,
            "source": source_settings(source, store.files),
            "columns": resolve.plain(_roles(columns)),
            "splits": resolve.plain(SplitFractions()),
            "contract": _contract(columns, {}),
        },
        seed=derived_seed(columns["seed"] or 0, "splits"),
    )
    step = Step(
        title=f"ingest {location}",
        module="ingest_examples",
        request=request,
        publish=("dataset", name),
        hints=source_hints(source),
    )
    with progress(1) as show:
        run_step(store, step, None, show)
    counts = store.record(step.id).meta["counts"]
    return _told(name, f"{store.version('dataset', name)}: {rows_text(counts)}", counts)


def append_location(store: Store, location: str, name: str, columns: Mapping[str, Any], progress: OpenProgress) -> str:
    """Put the rows of a source behind those of a data set's newest version, as its next version.

    The columns mean what they meant at the first ingest. An option may repeat that, not change it.

    Args:
        store: where the data set is.
        location: file or bundled set.
        name: the data set's name.
        columns: the options of `tamis ingest`, by name.
        progress: opens a display for a number of steps.

    Returns:
        One sentence with the version and the counts, or saying that these very rows were read before.

    Raises:
        NotFoundError: there is no such data set, or it was not ingested from a source.
        ValueError: an option says something else than the first ingest.
        ConflictError: other writers kept publishing versions of this name.
    """
    source = _source(location, columns)
    read = source_settings(source, store.files)

    def step_on(newest: Version) -> Step:
        first = _first_ingest(store, newest)
        contract = _contract(columns, first.settings["contract"])
        _check_repeated(name, first, columns)
        settings = {
            "append": str(first.settings["name"]),
            "source": read,
            **{key: first.settings[key] for key in ("columns", "splits")},
            "contract": contract,
        }
        inputs = {"dataset": newest.artifact}
        request = Request(kind="dataset", settings=settings, inputs=inputs, seed=first.seed)
        return Step(title=f"append {location}", module="append_examples", request=request, hints=source_hints(source))

    known = store.version("dataset", name)
    for record in ancestry(store.artifacts, known.artifact):
        if record.request.settings.get("source") == read and "relabel" not in record.request.settings:
            return f"{known} has the rows of {location} already; nothing is appended"
    version = _publish_on(store, name, step_on, progress)
    counts = store.record(version.artifact).meta["appended"]
    return _told(name, f"{version}: {rows_text(counts)}, now {len(store.dataset(str(version)))} rows", counts)


def relabel_examples(store: Store, name: str, location: str, by: str, why: str, progress: OpenProgress) -> str:
    """Correct labels of a data set's newest version, as its next version.

    Args:
        store: where the data set is.
        name: the data set's name.
        location: a file with `example_id` (or `key`) and `label`.
        by: who says so.
        why: the reason.
        progress: opens a display for a number of steps.

    Returns:
        One sentence with the version and how many labels are others now.

    Raises:
        NotFoundError: there is no such data set.
        ValueError: an id or label is not the data set's, or nothing changes.
        ConflictError: other writers kept publishing versions of this name.
    """
    source = Source(location=location)

    def step_on(newest: Version) -> Step:
        said = {"name": name, "by": by, "why": why}
        request = Request(
            kind="dataset",
            settings={"relabel": said, "source": source_settings(source, store.files)},
            inputs={"dataset": newest.artifact},
        )
        return Step(title=f"relabel {name}", module="relabel_examples", request=request, hints=source_hints(source))

    version = _publish_on(store, name, step_on, progress)
    changed = store.record(version.artifact).meta["relabelled"]["labels"]
    return f"{version}: {changed} {'label' if changed == 1 else 'labels'} corrected by {by}: {why}"


def _publish_on(store: Store, name: str, step_on: Callable[[Version], Step], progress: OpenProgress) -> Version:
    """Change the newest version and publish the outcome; once more on top of whatever another writer put before it."""
    for _ in range(_TRIES):
        newest = store.version("dataset", name)
        if newest.name != name:
            raise ValueError(f"{name!r} is a tag of {newest}; name the data set itself, {newest.name!r}")
        step = step_on(newest)
        with progress(1) as show:
            run_step(store, step, None, show)
        try:
            return store.publish("dataset", name, step.id, after=newest)
        except ConflictError:
            continue
    raise ConflictError(f"other writers published {name!r} {_TRIES} times meanwhile; run it again")


def _first_ingest(store: Store, version: Version) -> Request:
    """How the first rows of a data set were read."""
    for record in ancestry(store.artifacts, version.artifact):
        if {"name", "columns", "splits", "contract"} <= record.request.settings.keys():
            return record.request
    raise NotFoundError(f"{version} was not read from a source, so it is not known what its columns mean")


def _check_repeated(name: str, first: Request, columns: Mapping[str, Any]) -> None:
    """Refuse options that are not those of the first ingest."""
    given = resolve.plain(_roles(columns))
    for option in _OF_ROLES:
        known = first.settings["columns"].get(option)
        if columns[option] and canonical_json(given[option]) != canonical_json(known):
            flag = f"--{option.replace('_', '-')}"
            raise ValueError(f"{flag} of data set {name!r} is {known}, not {given[option]}; leave it out with --append")
    if columns["seed"] is not None and derived_seed(columns["seed"], "splits") != first.seed:
        raise ValueError(f"data set {name!r} has drawn its splits with another --seed; leave it out with --append")


def _told(name: str, sentence: str, counts: Mapping[str, Any]) -> str:
    """The sentence, with where to look at rows that were set aside."""
    told = sentence + broken_rules_text(counts)
    return f'{told}; see them with: tamis sql "SELECT * FROM quarantine.{name}"' if counts["quarantined"] else told


def _source(location: str, columns: Mapping[str, Any]) -> Source:
    if (columns["labels"] is None) != (columns["label_key"] is None):
        raise ValueError("--labels and --label-key go together: the second file, and the column that joins it")
    return Source(
        location=location,
        format=columns["source_format"],
        labels=columns["labels"],
        label_key=columns["label_key"],
    )


def _contract(columns: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The contract in a file, or else the known one, with the action of the options."""
    raw = dict(known)
    if columns["contract"] is not None:
        path = Path(columns["contract"])
        if not path.is_file():
            raise NotFoundError(f"there is no contract file {path}")
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"contract {path} is not valid TOML: {error}") from None
        raw = raw["contract"] if list(raw) == ["contract"] else raw
    if columns["on_bad_rows"] is not None:
        raw["action"] = columns["on_bad_rows"]
    return resolve.plain(build(Contract, raw, "contract"))


def _roles(columns: Mapping[str, Any]) -> Roles:
    shape = columns["image_shape"]
    return Roles(
        features=columns["features"],
        text=columns["text"],
        label=columns["label"],
        key=columns["key"],
        split=columns["split"],
        group=columns["group"],
        clean_label=columns["clean_label"],
        image_shape=_shape(shape) if shape else None,
        image_fit=columns["image_fit"] or "exact",
    )


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise ValueError(f"--image-shape must look like 28x28 or 32x32x3, got {text!r}") from None
