"""Source: where examples come from, and what every format's reader must offer."""

import hashlib
import importlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import SourceError
from storage.files import Files
from storage.ingest import formats
from storage.ingest.location import existing_file, format_of, known_formats, matching_files
from storage.sealed import sealed, unsealed


@dataclass(frozen=True, kw_only=True)
class Source:
    """A place that examples are read from."""

    location: str
    """A file, a pattern, a directory, or a set such as `sklearn:digits`."""
    format: str | None = None
    """A format's name, such as `csv`; None takes the prefix before a colon, the file's ending, or what a directory
    holds."""
    labels: str | None = None
    """A second file or pattern whose columns are joined to the rows, such as labels by several people."""
    label_key: str | None = None
    """Column, of the same name in both, by which they are joined; its values are distinct in the second file."""

    def __post_init__(self) -> None:
        if (self.labels is None) != (self.label_key is None):
            raise ValueError("labels and label_key go together: the second file, and the column that joins it")
        for place in filter(None, (self.location, self.labels)):
            if "://" in place:
                raise SourceError(f"{place} is a URL, and sources are files of this machine; download it first")

    def kind(self) -> str:
        """The format's name.

        Raises:
            SourceError: there is no such format; the message lists those there are.
        """
        if self.format is None:
            return format_of(self.location)
        known = known_formats()
        if self.format not in known:
            raise SourceError(
                f"cannot read {self.location}: format {self.format!r}; known formats are {', '.join(known)}"
            )
        return self.format


@dataclass(frozen=True, kw_only=True)
class Header:
    """The columns of a source, before any row is read."""

    columns: Mapping[str, pl.DataType]
    """Type of each column, in the source's order."""
    inferred: bool = False
    """Whether the types are a guess from the first rows of a text file."""
    mostly_numbers: Collection[str] = ()
    """Text columns in whose first rows more than half of the cells are numbers."""
    nested: Collection[str] = ()
    """Text columns that hold lists or objects, as JSON text: metadata, for no other role takes them."""
    number_lists: Collection[str] = ()
    """Those of the nested columns in whose first rows more than half of the cells are lists of numbers: vectors, if
    they are features."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that its reader could not turn into values."""

    source_row: int
    """Place in the source, as in `Block.rows`."""
    rule: str
    """Name of the contract's rule that it breaks."""
    row: str
    """The row as JSON."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Consecutive rows of a source."""

    frame: pl.DataFrame
    rows: NDArray[np.int64]
    """(N,) place in the source of each row of `frame`, counted from 1 over all its files."""
    rejected: tuple[Rejected, ...] = field(default=())
    """Rows that lie among these and are not in `frame`."""
    fraction: float
    """Share of the source read so far, in [0, 1]."""
    file: str | None = None
    """Which of several files the rows are from; None where there is only one."""
    before: int = 0
    """Places of the files before this one: what to take off a place to have it within its file."""


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


def open_format(source: Source) -> Format:
    """What reads a source: its format's module, joined with the labels of a second file where there are some."""
    reader = cast(Format, importlib.import_module(f"{formats.__name__}.{source.kind()}"))
    if source.labels is None or source.label_key is None:
        return reader
    from storage.ingest.joined import Joined

    return cast(Format, Joined(reader, source.labels, source.label_key))


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
    kind = source.kind()
    module = cast(Format, importlib.import_module(f"{formats.__name__}.{kind}"))
    found = _remembered(module, source.location, kind, files)
    if source.labels is None:
        return found
    labels = fingerprint(Source(location=source.labels), files)
    return hashlib.sha256(json.dumps([found, labels, source.label_key]).encode()).hexdigest()


def _remembered(module: Format, location: str, kind: str, files: Files | None) -> str:
    """A format's fingerprint of a location, from the store's memory where the files are as they were.

    A file's time of change can be set by hand, that of its inode cannot; both count.
    """
    paths = matching_files(location)
    if files is None or not paths:
        return module.fingerprint(location)
    looks = [(str(path.resolve()), path.stat()) for path in paths]
    seen = [[path, look.st_size, look.st_mtime_ns, look.st_ctime_ns] for path, look in looks]
    key = json.dumps([kind, *(path for path, _ in looks)])
    place = f"fingerprints/{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        remembered = unsealed(files.read(place))
        if remembered["seen"] == seen:
            return str(remembered["fingerprint"])
    found = module.fingerprint(location)
    files.replace(place, sealed({"seen": seen, "fingerprint": found}))
    return found


def file_fingerprint(location: str, kind: str | None = None) -> str:
    """SHA-256 of a file's bytes; of several files, the SHA-256 of theirs in order of their names."""
    digests = []
    for path in matching_files(location, kind) or [existing_file(location)]:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def frame_fingerprint(frame: pl.DataFrame) -> str:
    """SHA-256 of a frame's column names, types and values."""
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    # Arrow keeps the texts of categories apart from the rows, which then hold numbers alone.
    texts = [pl.col(name).cast(_spelled_out(dtype)) for name, dtype in frame.schema.items()]
    for batch in frame.select(texts).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()


def _spelled_out(dtype: pl.DataType) -> pl.DataType:
    """The type with text in place of categories."""
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_spelled_out(cast(pl.DataType, dtype.inner)))
    if isinstance(dtype, pl.Array):
        return pl.Array(_spelled_out(cast(pl.DataType, dtype.inner)), dtype.size)
    if isinstance(dtype, pl.Struct):
        return pl.Struct({one.name: _spelled_out(cast(pl.DataType, one.dtype)) for one in dtype.fields})
    return dtype


def row_json(row: Mapping[str, object]) -> str:
    """A row as JSON text; what JSON has no form for becomes a string."""
    return json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False, default=str)


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
