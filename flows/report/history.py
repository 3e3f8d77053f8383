"""What `tamis log` prints: every version of a name with when it came, what changed, and its tags."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from flows.report.tables import Row, kept_text, model_text, with_error
from flows.report.terminal import print_rows
from storage.artifacts import Artifacts, Record
from storage.errors import NotFoundError
from storage.lineage import Change, changed_requests
from storage.remembered import RememberedArtifacts
from storage.store import Store
from storage.tags import Tag
from storage.versions import KINDS, Version

_MOST_CHANGES = 3
_LONGEST_VALUE = 40
_SECTIONS = {"selector": "selection", "rebalancer": "rebalance", "scorer": "scorers", "learner": "learners"}


def print_history(store: Store, name: str, last: int, console: Console) -> None:
    """Versions of a name, or moves of a tag, newest first, one table for each kind that has it.

    Raises:
        NotFoundError: no kind has such a name.
    """
    kinds = [kind for kind in KINDS if name in store.names(kind)]
    moves = {kind: store.tag_moves(kind, name) for kind in KINDS if kind not in kinds}
    for kind, tags in moves.items():
        print_rows(f"{kind} tag {name}", [_move_row(tag) for tag in reversed(tags[-last:])], console)
    if not kinds and any(moves.values()):
        return
    if not kinds:
        known = sorted({one for kind in KINDS for one in store.names(kind)})
        raise NotFoundError(f"there is nothing named {name!r}; the store has {', '.join(known) or 'no names yet'}")
    for kind in kinds:
        versions = store.versions(kind, name)
        print_rows(f"{kind} {name}", history_rows(store, kind, versions, last), console)
        if len(versions) > last:
            console.print(f"{len(versions) - last} earlier versions; --last {len(versions)} shows all", highlight=False)


def history_rows(store: Store, kind: str, versions: list[Version], last: int) -> list[Row]:
    """One row a version, newest first.

    Args:
        store: where they are.
        kind: their kind.
        versions: all of a name, oldest first.
        last: most rows, at least 1.
    """
    artifacts = RememberedArtifacts(store.artifacts)
    tags: dict[str, list[str]] = {}
    for tag in store.tags(kind):
        tags.setdefault(tag.reference, []).append(tag.tag)
    rows = []
    first = max(len(versions) - last, 0)
    for place in range(len(versions) - 1, first - 1, -1):
        version, before = versions[place], versions[place - 1] if place else None
        rows.append(
            {
                "version": str(version),
                "created": version.created_at[:16].replace("T", " "),
                "change": "; ".join(_changes(artifacts, version, before)),
                "tags": ", ".join(tags.get(str(version), [])),
            }
        )
    return rows


def _move_row(tag: Tag) -> Row:
    return {"tag": str(tag), "created": tag.created_at[:16].replace("T", " "), "is": tag.reference}


def _changes(artifacts: Artifacts, version: Version, before: Version | None) -> list[str]:
    """What is different from the version before, in a few words each."""
    record = artifacts.record(version.artifact)
    if before is None:
        return [_holds(record)]
    earlier = artifacts.record(before.artifact)
    built_on = record.request.inputs.get("dataset") == earlier.id
    if version.kind == "dataset" and built_on and "relabel" in record.request.settings:
        said = record.meta["relabelled"]
        labels = "label" if said["labels"] == 1 else "labels"
        return [f"{said['labels']} {labels} corrected by {said['by']}: {said['why']}"]
    told = list(_size_change(record, earlier))
    if version.kind == "dataset" and built_on and "append" in record.request.settings:
        return [*told, f"appended {record.meta['source']['location']}"]
    changes = list(dict.fromkeys(_told(one) for one in changed_requests(artifacts, earlier.id, record.id)))
    more = len(changes) - _MOST_CHANGES
    return [*told, *changes[:_MOST_CHANGES], *([f"and {more} more"] if more > 0 else [])]


def _holds(record: Record) -> str:
    if record.kind == "dataset":
        return f"{record.rows('examples')} rows"
    if record.kind == "selection":
        return kept_text(record)
    if record.kind == "signals":
        return f"signals {', '.join(record.meta['signals'])} of {record.rows('signals')} examples"
    if record.kind == "model":
        return model_text(record.meta)
    return f"scores {', '.join(record.meta['columns'])}"


def _size_change(record: Record, earlier: Record) -> Iterator[str]:
    if record.kind == "dataset":
        more = record.rows("examples") - earlier.rows("examples")
        yield f"{more:+d} rows" if more else "as many rows"
    elif record.kind == "selection":
        yield f"kept {earlier.meta['kept']} -> {record.meta['kept']}"
    elif record.kind == "signals":
        yield f"{record.rows('signals') - earlier.rows('signals'):+d} examples"
    elif record.kind == "model":
        yield f"test accuracy {_accuracy(earlier)} -> {_accuracy(record)}"
    else:
        for sign, one, other in (("+", record, earlier), ("-", earlier, record)):
            names = [name for name in one.meta["columns"] if name not in other.meta["columns"]]
            if names:
                yield f"{sign}{', '.join(names)}"


def _accuracy(record: Record) -> str:
    return with_error(float(record.meta["metrics"]["test_accuracy"]), None)


def _told(change: Change) -> str:
    """One difference, in the words of a recipe where it is one of its settings."""
    roles = change.role.split("/") if change.role else []
    section, _, rest = change.name.partition(".")
    if section == "relabel":
        return "labels corrected"
    if section in ("source", "append") or (change.name == "input" and roles[-1] == "dataset"):
        return "new data"
    if change.name == "input":
        verb = "reads" if change.before is None else "no longer reads"
        return f"{verb} {roles[-1]}"
    kind, _, name = (roles[-1] if roles else "").partition(".")
    place = [_SECTIONS.get(section, section)]
    place += [name] if section == "scorer" and kind == "score" else []
    title = ".".join([*place, rest] if rest else place)
    return f"{title} {_shown(change.before)} -> {_shown(change.after)}"


def _shown(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
