"""Fsck: is everything in a store what its records say, and what is to be done where it is not."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from storage.artifacts import Artifacts, File, Record
from storage.checkpoints import Checkpoints
from storage.errors import CorruptError, TamisError
from storage.files import PRIVATE_PATTERN, TEMPORARY, Files
from storage.numbered import NUMBER_PATTERN
from storage.sealed import unsealed
from storage.versions import KINDS, Versions

KNOWN = ("artifacts", "checkpoints", "fingerprints", "published", "runs", "store.json", "tags", "versions")
"""What a store's directory holds, temporary files aside."""

Severity = Literal["damage", "foreign", "leftover"]

_AGAIN = "remove {place}/record.json and run again what made it, or restore the file from a backup"
_SWEEP = "`tamis gc --delete` removes it"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Severity
    """`damage`: something published cannot be read or trusted. `foreign`: tamis did not put it there. `leftover`: a
    killed writer left it, and nothing is wrong."""
    place: str
    """Path relative to the store, or a version."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.place} {self.problem}; {self.remedy}"


def check_store(files: Files, *, quick: bool = False) -> Iterator[Finding]:
    """Hold everything in a store against its records.

    Args:
        files: bytes of the store.
        quick: leave out the content of files: their hashes, and whether checkpoints can be read.

    Yields:
        What is wrong or left over; nothing for a store that is as it should be.
    """
    checker = _Checker(files.snapshot(), quick)
    yield from checker.top()
    yield from checker.artifacts()
    yield from checker.versions()
    yield from checker.tags()
    yield from checker.strangers()
    yield from checker.checkpoints()
    yield from checker.notes()


class _Checker:
    """Remembers what was checked already; files may be listed by many artifacts."""

    def __init__(self, files: Files, quick: bool) -> None:
        self._files, self._quick = files, quick
        self._artifacts, self._versions = Artifacts(files), Versions(files)
        self._checked: dict[tuple[str, str], str | None] = {}
        self._complete: set[str] = set()

    def top(self) -> Iterator[Finding]:
        """The store's own mark, and what lies beside it."""
        try:
            mark = json.loads(self._files.read("store.json"))
            if mark["format"] != "tamis store" or set(mark) != {"format", "schema_version"}:
                raise ValueError("it is of another format")
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            yield _damage("store.json", f"cannot be read: {error}", "copy it from another store; all are equal")
        for name in self._files.top():
            if name not in (*KNOWN, TEMPORARY):
                yield _foreign(name)
        private = [path for path in self._files.children("published") if PRIVATE_PATTERN.fullmatch(path[10:])]
        for path in (*self._files.children(TEMPORARY), *private):
            if not self._files.is_held(path):
                yield _leftover(path, "is a half-written file")

    def artifacts(self) -> Iterator[Finding]:
        """Records, the files they list, and the files that no record lists."""
        listed: set[str] = set()
        broken = False
        for name in (path.removeprefix("artifacts/") for path in self._files.children("artifacts")):
            if not self._artifacts.has(name):
                continue
            self._complete.add(name)
            try:
                record = self._artifacts.record(name)
            except TamisError as error:
                broken = True
                yield _damage(f"artifacts/{name}", _told(error), _AGAIN.format(place=f"artifacts/{name}"))
                continue
            listed.update(file.path for file in record.files)
            yield from self._record(name, record)
        if not broken:
            yield from self._unlisted(listed)

    def _record(self, name: str, record: Record) -> Iterator[Finding]:
        place = f"artifacts/{name}"
        again = _AGAIN.format(place=place)
        found = record.request.id_under(record.schema_version)
        if record.id != name or found != name:
            wrong = found if record.id == name else record.id
            yield _damage(place, f"holds the record of {wrong}: it was changed or moved", again)
        for role, one in record.request.inputs.items():
            if not self._artifacts.has(one):
                yield _damage(place, f"was made from {one} ({role}), which is not in the store", again)
        for file in record.files:
            key = (file.path, file.sha256)
            if key not in self._checked:
                self._checked[key] = self._problem(file)
            problem = self._checked[key]
            if problem is not None:
                yield _damage(file.path, f"of {name} {problem}", again)

    def _problem(self, file: File) -> str | None:
        """What is wrong with a listed file, if anything is."""
        try:
            with self._files.opened(file.path) as stream:
                return self._content_problem(file, stream)
        except ValueError as error:
            return f"has a path that leaves the store: {error}"
        except FileNotFoundError:
            return "is missing"

    def _content_problem(self, file: File, stream: BufferedReader) -> str | None:
        size = stream.seek(0, os.SEEK_END)
        if size != file.size_bytes:
            return f"has {size} bytes, its record says {file.size_bytes}"
        stream.seek(0)
        if not self._quick and hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
            return "has other content than its record says"
        if not file.path.endswith(".parquet"):
            return None
        try:
            rows = pq.read_metadata(stream).num_rows
        except (pa.ArrowException, OSError) as error:
            return f"is no Parquet file any more: {(str(error).splitlines() or [''])[0]}"
        return None if rows == file.rows else f"has {rows} rows, its record says {file.rows}"

    def _unlisted(self, listed: set[str]) -> Iterator[Finding]:
        """Files below `artifacts` that no record lists: in private places leftovers, elsewhere foreign ones."""
        seen: set[str] = set()
        for path in self._files.below("artifacts"):
            parts = path.split("/")
            if path in listed or (len(parts) == 3 and parts[2] == "record.json"):
                continue
            place = "/".join(parts[:3])
            if len(parts) != 4 or not PRIVATE_PATTERN.fullmatch(parts[2]) or not re.fullmatch(r"[\w.-]+", parts[3]):
                yield _foreign(path)
            elif place not in seen and not self._files.is_held(place):
                seen.add(place)
                yield _leftover(place, "was left by a killed writer, or holds files that its record does not list")

    def versions(self) -> Iterator[Finding]:
        """Every version of every name: readable, in its place, consecutive, of a complete artifact."""
        for kind, name, numbers in self._numbered("versions", self._versions.newest):
            for number in numbers:
                place = f"version {name}@{number} of {kind}"
                try:
                    version = self._versions.find(kind, f"{name}@{number}")
                except TamisError as error:
                    yield _damage(place, _told(error).removeprefix(f"{place} "), "restore its file from a backup")
                    continue
                if (version.kind, version.name, version.number) != (kind, name, number):
                    yield _damage(place, f"says that it is {version} of {version.kind}", "restore it from a backup")
                if version.artifact not in self._complete:
                    yield _damage(
                        place, f"points to {version.artifact}, which is not in the store", "run its recipe again"
                    )

    def tags(self) -> Iterator[Finding]:
        """Every move of every tag: readable, in its place, consecutive, of a version that is there."""
        for kind, tag, numbers in self._numbered("tags", self._versions.tags.last):
            for number in numbers:
                place = f"tag {tag}@{number} of {kind}"
                try:
                    moved = self._versions.tags.read(kind, tag, number)
                    if (moved.kind, moved.tag, moved.number) != (kind, tag, number):
                        raise CorruptError(f"it says that it is {moved} of {moved.kind}")
                    self._versions.find(kind, moved.reference)
                except (TamisError, ValueError) as error:
                    yield _damage(place, f"cannot be used: {_told(error)}", f"move it with `tamis tag VERSION {tag}`")
            if self._versions.newest(kind, tag):
                yield _damage(
                    f"tag {tag} of {kind}", f"is hidden by a {kind} of that name", "tag its version with another name"
                )

    def _numbered(self, directory: str, last: Callable[[str, str], int]) -> Iterator[tuple[str, str, range]]:
        """Kind, name and the numbers, from 1, of all that is counted by files of this directory."""
        for kind in KINDS:
            for name in self._files.names(f"{directory}/{kind}"):
                yield kind, name, range(1, last(kind, name) + 1)

    def strangers(self) -> Iterator[Finding]:
        """Files among versions and tags that are neither."""
        for directory in ("versions", "tags"):
            for path in self._files.below(directory):
                parts = path.split("/")[1:]
                if len(parts) != 3 or parts[0] not in KINDS or not NUMBER_PATTERN.fullmatch(parts[2]):
                    yield _foreign(path)

    def checkpoints(self) -> Iterator[Finding]:
        """Whether unfinished trainings can be taken up again, and states of finished ones."""
        for path in self._files.children("checkpoints"):
            name = path.removeprefix("checkpoints/").removesuffix(".safetensors")
            if name in self._complete:
                yield _leftover(path, "is the state of a training that has ended")
            elif not self._quick:
                try:
                    Checkpoints(self._files).load(name)
                except CorruptError:
                    yield _damage(path, "is not what was written", "remove it; the training then starts anew")

    def notes(self) -> Iterator[Finding]:
        """Whether what runs and sources are remembered by can be read."""
        for path in (*self._files.children("runs"), *self._files.children("fingerprints")):
            try:
                unsealed(self._files.read(path))
            except FileNotFoundError:
                continue
            except ValueError as error:
                yield _damage(path, f"cannot be read: {error}", "remove it; the next run remembers anew")


def _told(error: Exception) -> str:
    """What is wrong, without the advice to run what runs already."""
    return str(error).partition("; `tamis fsck`")[0]


def _damage(place: str, problem: str, remedy: str) -> Finding:
    return Finding(severity="damage", place=place, problem=problem, remedy=remedy)


def _foreign(place: str) -> Finding:
    problem = "is none of the store's files"
    return Finding(severity="foreign", place=place, problem=problem, remedy="move it out of the store")


def _leftover(place: str, problem: str) -> Finding:
    return Finding(severity="leftover", place=place, problem=problem, remedy=_SWEEP)
