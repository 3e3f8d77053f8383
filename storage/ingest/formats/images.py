"""Image folder: `class/name.png`, each file a row with the columns `image`, `label` and `path`.

`image` holds the encoded bytes, which `storage/ingest/decode.py` decodes to the `image_shape` of the recipe;
`label` is the name of the first folder (null for a file beside the folders) and `path` that of the file below the
source, which serves as a key. Files whose name starts with `.` or `_` are passed over; any other file
that is no image becomes a row that goes to quarantine as `not an image`.
"""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from storage.errors import SourceError
from storage.ingest.location import existing_directory, matching_files
from storage.ingest.source import Block, Header

BLOCK_BYTES = 32 << 20
"""Encoded bytes of a block, about."""
BLOCK_FILES = 4096
"""Most files of a block."""

PLACE = "file"
"""What a place in this kind of source is called."""

_TYPES: Mapping[str, pl.DataType] = {"image": pl.Binary(), "label": pl.String(), "path": pl.String()}


def columns(location: str) -> Header:
    """The three columns."""
    if not matching_files(str(existing_directory(location))):
        raise SourceError(f"the directory {location} holds no files")
    return Header(columns=_TYPES)


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of files in order of their paths; a place is the number of a file in this order."""
    top = existing_directory(location)
    paths = matching_files(location)
    waiting: list[tuple[bytes, str | None, str]] = []
    size = 0
    for place, path in enumerate(paths, start=1):
        below = path.relative_to(top)
        waiting.append((path.read_bytes(), below.parts[0] if len(below.parts) > 1 else None, below.as_posix()))
        size += len(waiting[-1][0])
        if size > BLOCK_BYTES or len(waiting) == BLOCK_FILES or place == len(paths):
            frame = pl.DataFrame(waiting, schema=_TYPES, orient="row").select(list(types))
            rows = np.arange(place - len(waiting) + 1, place + 1, dtype=np.int64)
            yield Block(frame=frame, rows=rows, fraction=place / len(paths))
            waiting, size = [], 0


def fingerprint(location: str) -> str:
    """SHA-256 of the files' paths below the source and of their bytes."""
    top = existing_directory(location)
    digest = hashlib.sha256()
    for path in matching_files(location):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        digest.update(path.relative_to(top).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()
