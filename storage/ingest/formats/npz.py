"""NPZ: NumPy arrays by name whose first axis is the rows, read in blocks; nothing pickled is ever loaded.

Which columns an array becomes, `storage/ingest/arrays.py` says.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
from numpy.lib import format as npy
from numpy.typing import NDArray

from storage.errors import SourceError
from storage.ingest.arrays import check_arrays, frame_of_arrays
from storage.ingest.compressed import check_ratio
from storage.ingest.location import existing_file
from storage.ingest.source import Block, Header, file_fingerprint

BLOCK_BYTES = 32 << 20
"""Bytes of a block, about."""

PLACE = "row"
"""What a place in this kind of source is called."""

_DAMAGED = (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One array: what its header says."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize


def columns(location: str) -> Header:
    """The columns that the arrays become."""
    members, _ = _members(existing_file(location))
    empty = {name: np.empty((0, *one.shape[1:]), dtype=one.dtype) for name, one in members.items()}
    return Header(columns={**frame_of_arrays(empty).schema})


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of rows, every array read alongside the others."""
    path = existing_file(location)
    members, rows = _members(path)
    per_row = max(sum(one.row_bytes for one in members.values()), 1)
    step = max(BLOCK_BYTES // per_row, 1)
    with ExitStack() as stack, _undamaged(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
        streams = {name: stack.enter_context(archive.open(f"{name}.npy")) for name in members}
        for stream in streams.values():
            _header(stream)
        for start in range(0, rows, step):
            count = min(step, rows - start)
            arrays = {name: _rows(streams[name], one, count) for name, one in members.items()}
            places = np.arange(start + 1, start + count + 1, dtype=np.int64)
            frame = frame_of_arrays(arrays).select(list(types))
            yield Block(frame=frame, rows=places, fraction=(start + count) / rows)


def fingerprint(location: str) -> str:
    """SHA-256 of the file's bytes."""
    return file_fingerprint(location, "npz")


def _members(path: Path) -> tuple[dict[str, _Member], int]:
    """The arrays, and how many rows they have."""
    found = {}
    with _undamaged(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                raise SourceError(f"{path} holds {info.filename!r}, which is no array")
            check_ratio(str(path), packed=max(info.compress_size, 1), unpacked=info.file_size)
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as stream:
                shape, fortran, dtype = _header(stream)
                held = info.file_size - stream.tell()
            if dtype.hasobject:
                raise SourceError(f"array {name!r} of {path} holds pickled objects, which are never loaded")
            if math.prod(shape) * dtype.itemsize != held:
                raise SourceError(f"array {name!r} of {path} is damaged: its shape {shape} needs more or fewer bytes")
            if fortran and len(shape) > 1:
                raise SourceError(f"array {name!r} of {path} is in Fortran order; save numpy.ascontiguousarray of it")
            found[name] = _Member(shape=shape, dtype=dtype)
    rows = check_arrays(
        {name: one.shape for name, one in found.items()}, {name: one.dtype for name, one in found.items()}, str(path)
    )
    return found, rows


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read_header(stream)


def _rows(stream: IO[bytes], member: _Member, count: int) -> NDArray[np.generic]:
    """The next rows of an array."""
    data = stream.read(count * member.row_bytes)
    if len(data) < count * member.row_bytes:
        raise EOFError("an array is cut short")
    return np.frombuffer(data, dtype=member.dtype).reshape(count, *member.shape[1:])


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise SourceError(f"{path} is not an NPZ file, or it is damaged: {error}") from error
