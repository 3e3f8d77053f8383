"""Lineage: which artifacts an artifact stands on, and what differs in how two of them were asked for."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storage.artifacts import Artifacts, Record, Request

_REPLICATE = re.compile(r"\.[0-9.]+$")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One setting, seed, revision or source that differs between two artifacts or what they were made from."""

    role: str
    """Where it is: empty for the two artifacts themselves, else the roles of inputs that lead there, with `/`."""
    name: str
    """Dotted path of the setting, or `seed`, `revision`, `input`."""
    before: Any
    """JSON value in the first artifact; None where it has none."""
    after: Any
    """JSON value in the second artifact; None where it has none."""


def ancestry(artifacts: Artifacts, artifact_id: str) -> list[Record]:
    """The artifact's record and those of all that it was made from, each after its own inputs.

    Raises:
        NotFoundError: one of them is no longer in the store.
        CorruptError: a record cannot be read.
    """
    ordered: dict[str, Record] = {}
    waiting = [artifacts.record(artifact_id)]
    while waiting:
        record = waiting[-1]
        missing = [one for one in record.request.inputs.values() if one not in ordered]
        if missing and record.id not in ordered:
            waiting.extend(artifacts.record(one) for one in dict.fromkeys(missing))
            continue
        ordered.setdefault(waiting.pop().id, record)
    return list(ordered.values())


def changed_requests(artifacts: Artifacts, first: str, second: str) -> list[Change]:
    """What differs in the requests of two artifacts and, input by input, of what they were made from.

    Inputs that are the same artifact are not opened. The trainings of one learner differ in their seed's
    number alone, so each difference among them is told once.
    """
    found: dict[str, Change] = {}
    waiting, seen = [("", first, second)], {(first, second)}
    while waiting:
        role, one, other = waiting.pop(0)
        if one == other:
            continue
        requests = artifacts.record(one).request, artifacts.record(other).request
        for change in _own_changes(role, *requests):
            key = json.dumps([_REPLICATE.sub("", role), change.name, *_compared(change)])
            found.setdefault(key, change)
        inputs = requests[0].inputs, requests[1].inputs
        for name in dict.fromkeys((*inputs[0], *inputs[1])):
            place = f"{role}/{name}" if role else name
            pair = (inputs[0].get(name), inputs[1].get(name))
            if None in pair:
                change = Change(role=place, name="input", before=pair[0], after=pair[1])
                found.setdefault(json.dumps([_REPLICATE.sub("", place), "input"]), change)
            elif pair not in seen:
                seen.add(pair)  # type: ignore[arg-type]
                waiting.append((place, *pair))  # type: ignore[arg-type]
    return list(found.values())


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its dotted path; lists stay whole."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def changed_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Dotted path, value before and value after of each setting that differs; None where one side lacks it."""
    one, other = dict(flat(first)), dict(flat(second))
    return [
        (name, one.get(name), other.get(name))
        for name in dict.fromkeys((*one, *other))
        if json.dumps(one.get(name)) != json.dumps(other.get(name))
    ]


def _own_changes(role: str, first: Request, second: Request) -> Iterator[Change]:
    """Differences of two requests, their inputs apart."""
    for name, before, after in changed_settings(first.settings, second.settings):
        yield Change(role=role, name=name, before=before, after=after)
    for name in ("revision", "seed"):
        before, after = getattr(first, name), getattr(second, name)
        if before != after:
            yield Change(role=role, name=name, before=before, after=after)


def _compared(change: Change) -> list[Any]:
    """The values by which a change is told from another; a seed of one training is as good as the next."""
    return [] if change.name == "seed" else [change.before, change.after]
