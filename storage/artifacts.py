"""Artifacts: immutable directories of Parquet files whose `record.json` is written last.

An artifact's id is a hash of what makes it: kind, settings, inputs, seed, schema version
and the method's revision. If its record exists, the work is done; so resuming is running
again. Several writers may race: each fills a private place, creating the record decides.
"""

import hashlib
import json
import platform
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from storage.errors import CorruptError, NotFoundError
from storage.files import Files, native_write
from storage.schemas import SCHEMA_VERSION, check_table
from storage.sealed import sealed, unsealed

Json = Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an artifact is to be: everything that its id is a hash of."""

    kind: str
    """`dataset`, `signals`, `training`, `scores`, `scored`, `selection`, `evaluation`, `model`, `check`, `report`."""
    settings: Mapping[str, Json]
    """The part of the recipe that decides the content."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Ids of the artifacts it is made from, by the role they play."""
    seed: int | None = None
    """Seed of its chance, where it has any."""
    revision: int = 1
    """The method's revision: raised whenever its numbers change."""

    @cached_property
    def id(self) -> str:
        """Kind and 20 hexadecimal digits of the hash of everything above."""
        return self.id_under(SCHEMA_VERSION)

    def id_under(self, schema_version: int) -> str:
        """The id that this request has, or had, under a schema version."""
        text = canonical_json({**asdict(self), "schema_version": schema_version})
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of an artifact; `path` is relative to the store's root and may lie in another artifact."""

    table: str
    path: str
    rows: int
    """Rows of a Parquet file; 0 for other formats."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What an artifact is, where its files are, and what it cost; immutable once written."""

    id: str
    request: Request
    files: tuple[File, ...]
    meta: Mapping[str, Json]
    """What the content means, by kind: a data set's schema and counts, a signal's shapes, metrics."""
    seconds: float
    """Wall-clock time of the work, in seconds; with what earlier, interrupted tries had reached."""
    peak_memory_bytes: int
    """Largest resident memory of the process so far."""
    created_at: str
    versions: Mapping[str, str]
    """Python and the packages that decide the numbers."""
    schema_version: int = SCHEMA_VERSION

    @property
    def kind(self) -> str:
        """The request's kind."""
        return self.request.kind

    def table(self, name: str) -> tuple[File, ...]:
        """Files of one table, in order; empty if the artifact has no such table."""
        return tuple(file for file in self.files if file.table == name)

    def rows(self, table: str) -> int:
        """Rows of a table."""
        return sum(file.rows for file in self.table(table))


class Draft:
    """An artifact being written: a private place that nobody sees until the record is published."""

    def __init__(self, files: Files, request: Request) -> None:
        """Prepare a private place; `Artifacts.write` is the way to get one."""
        self.request = request
        self.meta: dict[str, Json] = {}
        self.earlier_seconds = 0.0
        self._files = files
        self.directory = files.private(_place(request.id))
        self._done: list[File] = []
        self._started = time.perf_counter()

    def writing(self, filename: str) -> AbstractContextManager[Path]:
        """Where Polars should write a file inside the block, before `add` takes it over."""
        return native_write(self._files, f"{self.directory}/{filename}", pl.exceptions.PolarsError)

    def path(self, filename: str) -> Path:
        """Where a file lies that was written and not yet added, for reading it again."""
        return self._files.locate(f"{self.directory}/{filename}")

    def paths(self, table: str) -> list[Path]:
        """Where the files of a table lie that are listed so far, shared ones among them."""
        return self._files.local([file for file in self._done if file.table == table])

    def add(self, table: str, filename: str) -> None:
        """Take over a file that was written inside `writing(filename)`."""
        path = f"{self.directory}/{filename}"
        rows = pq.read_metadata(self._files.locate(path)).num_rows if filename.endswith(".parquet") else 0
        size, digest = self._files.sealed(path)
        self._done.append(File(table=table, path=path, rows=rows, size_bytes=size, sha256=digest))

    def add_table(self, table: str, frame: pl.DataFrame) -> None:
        """Write a whole table that fits in memory, after checking it against the schema of its kind."""
        check_table(self.request.kind, table, frame.schema)
        number = sum(file.table == table for file in self._done)
        filename = f"{table}-{number:05d}.parquet"
        with self.writing(filename) as path:
            frame.write_parquet(path, compression="zstd", compression_level=1)
        self.add(table, filename)

    def add_bytes(self, table: str, filename: str, data: bytes) -> None:
        """Write a file that is not a table, such as a model's weights."""
        self._files.create(f"{self.directory}/{filename}", data)
        self.add(table, filename)

    @property
    def seconds(self) -> float:
        """Wall-clock time of the work so far, earlier tries included."""
        return round(time.perf_counter() - self._started + self.earlier_seconds, 4)

    def share(self, files: Sequence[File]) -> None:
        """List files of another artifact as this one's own: nothing is copied."""
        self._done.extend(files)

    def record(self) -> Record:
        """The record as it stands now."""
        return Record(
            id=self.request.id,
            request=self.request,
            files=tuple(self._done),
            meta=self.meta,
            seconds=self.seconds,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=software_versions(),
        )

    def discard(self) -> None:
        """Remove the private place."""
        self._files.remove(self.directory)
        self._files.prune(_place(self.request.id))

    def release(self) -> None:
        """Let go of the private place, published or not; one without files goes."""
        self._files.release(self.directory)
        self._files.prune(self.directory)


class Artifacts:
    """Reads records and writes artifacts under `artifacts/<id>/`."""

    def __init__(self, files: Files) -> None:
        """Use the bytes of one store."""
        self._files = files

    def has(self, artifact_id: str) -> bool:
        """Whether the artifact is complete."""
        return self._files.exists(f"{_place(artifact_id)}/record.json")

    def record(self, artifact_id: str) -> Record:
        """The record of a complete artifact.

        Raises:
            NotFoundError: there is none.
            CorruptError: it cannot be read, or a newer tamis wrote it.
        """
        try:
            text = self._files.read(f"{_place(artifact_id)}/record.json")
        except FileNotFoundError:
            raise NotFoundError(f"the store has no artifact {artifact_id!r}") from None
        return _record_from_json(artifact_id, text)

    def ids(self) -> list[str]:
        """Ids of all complete artifacts, sorted."""
        names = (path.removeprefix("artifacts/") for path in self._files.children("artifacts"))
        return [name for name in names if self.has(name)]

    @contextmanager
    def write(self, request: Request) -> Iterator[Draft]:
        """Fill a draft; leaving the block publishes it, an exception discards it.

        When another writer published the same artifact first, that one stays and this draft is discarded.

        Raises:
            NotFoundError: on leaving the block: an input, or a file that the draft lists, was swept meanwhile.
        """
        needed = [one for one in request.inputs.values() if self.has(one)]
        draft = Draft(self._files, request)
        try:
            yield draft
            with self._files.locked("versions", exclusive=False):
                record = draft.record()
                self._check_unswept(record, needed, draft.directory)
                if not self._files.create(f"{_place(request.id)}/record.json", sealed(asdict(record))):
                    draft.discard()
        except BaseException:
            if not self._lists(request.id, draft):
                draft.discard()
            raise
        finally:
            draft.release()

    def _check_unswept(self, record: Record, needed: Sequence[str], directory: str) -> None:
        """Refuse what was made from an artifact, or lists a file of one, that a sweep removed meanwhile."""
        gone = [one for one in needed if not self.has(one)]
        shared = [file.path for file in record.files if not file.path.startswith(f"{directory}/")]
        gone += [path for path in shared if not self._files.exists(path)]
        if gone:
            raise NotFoundError(f"{gone[0]} was removed by `tamis gc` while {record.id} was made from it; run it again")

    def _lists(self, artifact_id: str, draft: Draft) -> bool:
        """Whether a draft was published, even though an error (such as Ctrl-C) came right after."""
        try:
            return draft.directory.encode() in self._files.read(f"{_place(artifact_id)}/record.json")
        except FileNotFoundError:
            return False


def canonical_json(value: Json) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text.

    Raises:
        TypeError: the value holds something that JSON has no form for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    names = ("tamis", "numpy", "polars", "torch", "scikit-learn")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _place(artifact_id: str) -> str:
    return f"artifacts/{artifact_id}"


def _record_from_json(artifact_id: str, text: bytes) -> Record:
    try:
        raw = unsealed(text)
        version = int(raw["schema_version"])
        if version > SCHEMA_VERSION:
            raise CorruptError(
                f"artifact {artifact_id!r} was written by a newer tamis (schema {version}, this one reads up to "
                f"{SCHEMA_VERSION}); install that version or a newer one"
            )
        raw["request"] = Request(**raw["request"])
        raw["files"] = tuple(File(**file) for file in raw["files"])
        return Record(**raw)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(
            f"the record of artifact {artifact_id!r} cannot be read: {error}; `tamis fsck` says what to do"
        ) from error
