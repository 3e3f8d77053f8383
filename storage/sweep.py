"""Sweep: removes what no version needs any more, and what killed writers left behind.

Kept is every artifact that a version (and so a tag) or the newest state of a run reaches through
inputs, every file that a kept record lists, wherever it lies, and everything younger than the grace
period. Age is measured against the clock: what seems to come from the future, because the clock was
set back, counts as fresh. What a live process is writing is locked by it and never touched; but no lock reaches
from machine to machine, so in an object store the grace period alone protects what others are writing.

A run that reuses an artifact older than the grace period which no version reaches may find it swept
from under it; it then ends with an error, and running again makes the artifact again.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storage.artifacts import Artifacts, Record
from storage.files import PRIVATE_PATTERN, TEMPORARY, Files
from storage.sealed import unsealed
from storage.versions import KINDS, Versions

GRACE_SECONDS = 7 * 24 * 3600.0
"""Default grace period: a week."""

WHATS = ("artifact", "leftover", "temporary file", "checkpoint", "run note")
"""Kinds of what can be swept, in the order in which it goes."""


@dataclass(frozen=True, kw_only=True)
class Waste:
    """Something that nothing needs."""

    what: str
    """One of `WHATS`: an artifact that no version reaches; a private place of a killed writer, or files in one
    that its record does not list; a half-written file; the state of a training that was never taken up again; the
    note of a run whose artifacts are gone."""
    path: str
    """Directory or file, relative to the store."""
    files: tuple[str, ...]
    """Paths of the files to go."""
    size_bytes: int


class Sweep:
    """Finds and removes waste in one store."""

    def __init__(self, files: Files, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """Look at one store.

        Args:
            files: bytes of the store.
            grace_seconds: what changed less long ago is kept, at least 0. With 0, no run must be under way.
        """
        if not grace_seconds >= 0:
            raise ValueError(f"grace_seconds must be at least 0, got {grace_seconds}")
        self._files = files
        self._artifacts = Artifacts(files)
        self._versions = Versions(files)
        self._grace_seconds = grace_seconds

    def find(self) -> list[Waste]:
        """All waste there is now; nothing is removed.

        Raises:
            CorruptError: a record or version cannot be read, so that what it needs is not known.
        """
        return Sweep(self._files.snapshot(), grace_seconds=self._grace_seconds)._find(time.time())

    def _find(self, now: float) -> list[Waste]:
        places = [one for one in self._private_places() if self._is_settled(one, now)]
        ids = self._artifacts.ids()
        records = dict(zip(ids, self._files.mapped(self._artifacts.record, ids), strict=True))
        kept = self._reached(records, now)
        listed = {file.path for one in kept for file in records[one].files}
        going = [f"artifacts/{one}" for one in records if one not in kept]
        waste = [self._waste("artifact", place, listed) for place in going]
        waste += [self._waste("leftover", place, listed) for place in places if _parent(place) not in going]
        for what, directory in (("temporary file", TEMPORARY), ("checkpoint", "checkpoints")):
            paths = self._files.children(directory)
            waste += [self._waste(what, path, set()) for path in paths if self._is_settled(path, now)]
        waste += [self._waste("run note", path, set()) for path in self._stale_notes(kept, now)]
        return [one for one in waste if one.files or (one.what == "leftover" and self._files.is_empty(one.path))]

    def remove(self) -> Iterator[Waste]:
        """Remove all waste, telling of each piece once it is gone.

        Nothing is published meanwhile. A record goes before its files, so that whatever interrupts
        this leaves no artifact that lacks a file.
        """
        with self._files.locked("versions", exclusive=True):
            waste = self.find()
            for one in waste:
                if one.what == "artifact":
                    self._files.remove(f"{one.path}/record.json")
            for one in waste:
                for path in one.files:
                    self._files.remove(path)
                self._files.prune(one.path)
                if one.what == "leftover":
                    self._files.prune(_parent(one.path))
                yield one

    def _reached(self, records: Mapping[str, Record], now: float) -> set[str]:
        """Ids of the artifacts that something needs, or that are young."""
        versions = self._versions
        waiting = [one.artifact for kind in KINDS for name in versions.names(kind) for one in versions.all(kind, name)]
        waiting += [one for note in self._notes().values() if self._is_current(note) for one in note["artifacts"]]
        waiting += [one for one in records if not self._is_old(f"artifacts/{one}/record.json", now)]
        reached: set[str] = set()
        while waiting:
            one = waiting.pop()
            if one in records and one not in reached:
                reached.add(one)
                waiting.extend(records[one].request.inputs.values())
        return reached

    def _private_places(self) -> list[str]:
        parents = (*self._files.children("artifacts"), "published")
        children = (path for one in parents for path in self._files.children(one))
        return [path for path in children if PRIVATE_PATTERN.fullmatch(path.rpartition("/")[2])]

    def _waste(self, what: str, path: str, listed: Collection[str]) -> Waste:
        """What is at a path but is not listed, without the places that live writers hold."""
        held = tuple(f"{one}/" for one in self._files.children(path) if self._files.is_held(one))
        found = [one for one in self._files.walk(path) if one not in listed and not one.startswith(held)]
        sizes = sum(map(self._files.size_bytes, found))
        return Waste(what=what, path=path, files=tuple(found), size_bytes=sizes)

    def _is_settled(self, path: str, now: float) -> bool:
        """Whether nobody writes here, and nobody did within the grace period."""
        if self._files.is_held(path):
            return False
        return all(self._is_old(one, now) for one in (path, *self._files.walk(path)))

    def _is_old(self, path: str, now: float) -> bool:
        """Whether the grace period has passed; False for what is gone, or seems to come from the future."""
        try:
            age = self._files.age_seconds(path, now)
        except FileNotFoundError:
            return False
        return age >= 0 and age >= self._grace_seconds

    def _notes(self) -> dict[str, dict[str, Any]]:
        """What runs that ended have left, by path; one that cannot be read has no artifacts."""
        found: dict[str, dict[str, Any]] = {}
        for path in self._files.children("runs"):
            try:
                note = unsealed(self._files.read(path))
                found[path] = {"artifacts": list(note["artifacts"]), "published": list(note["published"])}
            except (ValueError, KeyError, TypeError):
                found[path] = {"artifacts": [], "published": []}
        return found

    def _is_current(self, note: Mapping[str, Any]) -> bool:
        """Whether all that the run published is still the newest of its name, so that it would reuse all it made.

        Models do not count: a later training of the same name takes nothing from the run.
        """
        for kind, name, artifact in note["published"]:
            if kind == "model":
                continue
            if not self._versions.newest(kind, name) or self._versions.find(kind, name).artifact != artifact:
                return False
        return True

    def _stale_notes(self, kept: set[str], now: float) -> list[str]:
        """Notes of runs some of whose artifacts are gone or about to go."""
        return [
            path
            for path, note in self._notes().items()
            if self._is_old(path, now) and not (note["artifacts"] and kept.issuperset(note["artifacts"]))
        ]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
