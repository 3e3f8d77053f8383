"""Source: where examples come from, and what every format's reader must offer."""

import glob
import hashlib
import importlib
import json
import math
import pkgutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import SourceError
from storage.files import Files
from storage.ingest import formats


@dataclass(frozen=True, kw_only=True)
class Source:
    """A place that examples are read from."""

    location: str
    """A path, or a bundled set such as `sklearn:digits`."""
    format: str | None = None
    """`csv`, `parquet` or `sklearn`; None takes the prefix before a colon, or the file's extension."""

    def kind(self) -> str:
        """The format's name.

        Raises:
            SourceError: there is no such format; the message lists those there are.
        """
        known = known_formats()
        prefix, _, _ = self.location.partition(":")
        guess = prefix if prefix in known else Path(self.location).suffix.lstrip(".").lower()
        found = guess if self.format is None else self.format
        if found not in known:
            what = f"format {found!r}" if found else "no format can be seen from the name"
            raise SourceError(f"cannot read {self.location}: {what}; known formats are {', '.join(known)}")
        return found


@dataclass(frozen=True, kw_only=True)
class Header:
    """The columns of a source, before any row is read."""

    columns: Mapping[str, pl.DataType]
    """Type of each column, in the source's order."""
    inferred: bool = False
    """Whether the types are a guess from the first rows of a text file."""
    mostly_numbers: Collection[str] = ()
    """Text columns in whose first rows more than half of the cells are numbers."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that its reader could not turn into values."""

    source_row: int
    rule: str
    """Name of the contract's rule that it breaks."""
    row: str
    """The row as JSON."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Consecutive rows of a source."""

    frame: pl.DataFrame
    rows: NDArray[np.int64]
    """(N,) place in the source of each row of `frame`, counted from 1."""
    rejected: tuple[Rejected, ...] = field(default=())
    """Rows that lie among these and are not in `frame`."""
    fraction: float
    """Share of the source read so far, in [0, 1]."""


class Format(Protocol):
    """What a format's module offers."""

    PLACE: str
    """What a place in this kind of source is called: `line` or `row`."""

    def columns(self, location: str) -> Header:
        """The source's columns; SourceError if it cannot be read."""

    def read(self, location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
        """Blocks of rows in the source's order; `types` says what to parse each column of text as."""

    def fingerprint(self, location: str) -> str:
        """SHA-256 of the content, in hexadecimal digits."""


def known_formats() -> list[str]:
    """Names of the formats, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(formats.__path__))


def open_format(source: Source) -> Format:
    """The module that reads a source."""
    return cast(Format, importlib.import_module(f"{formats.__name__}.{source.kind()}"))


def fingerprint(source: Source, files: Files | None = None) -> str:
    """Hash of a source's content; where it lies and when it was written do not enter.

    Args:
        source: what to hash.
        files: a store that remembers the hash by path, size and time of change, to spare rehashing.

    Returns:
        64 hexadecimal digits.

    Raises:
        SourceError: the source is missing or its format unknown.
    """
    module = open_format(source)
    paths = matching_files(source.location)
    if files is None or not paths:
        return module.fingerprint(source.location)
    seen = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    key = json.dumps([path for path, _, _ in seen])
    place = f"fingerprints/{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    if files.exists(place):
        remembered = json.loads(files.read(place))
        if remembered.get("seen") == seen:
            return str(remembered["fingerprint"])
    found = module.fingerprint(source.location)
    files.replace(place, json.dumps({"seen": seen, "fingerprint": found}).encode())
    return found


def matching_files(location: str) -> list[Path]:
    """Files that a path or a pattern such as `data/part-*.parquet` names, sorted; empty if there are none."""
    path = Path(location)
    if path.is_file():
        return [path]
    if not glob.has_magic(location):
        return []
    return sorted(found for found in map(Path, glob.glob(location)) if found.is_file())


def existing_file(location: str) -> Path:
    """The path of a source that is one file; SourceError if it is not there."""
    path = Path(location)
    if not path.exists():
        raise SourceError(f"there is no file {location}")
    if not path.is_file():
        raise SourceError(f"{location} is not a file")
    return path


def file_fingerprint(location: str) -> str:
    """SHA-256 of a file's bytes; of several files, the SHA-256 of theirs in order of their names."""
    digests = []
    for path in matching_files(location) or [existing_file(location)]:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def row_json(row: Mapping[str, object]) -> str:
    """A row as JSON text; what JSON has no form for becomes a string."""
    return json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False, default=str)


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(one) for one in value] if isinstance(value, list) else value
