"""Compressed text: `.gz` and `.zst` files as streams of bytes, with a bound against decompression bombs.

A stream is unpacked as it is read, so memory stays bounded; the bound on the ratio keeps a small file
from filling the disk. Text of real data sets packs 3 to 30 times; only repetition packs hundreds of times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from storage.errors import SourceError

FREE_BYTES = 64 << 20
"""So much may always be unpacked."""
MOST_RATIO = 200
"""Beyond that, unpacked bytes per packed byte."""

CODECS = {".gz": "gzip", ".zst": "zstd"}
"""Endings of compressed files, with the codec of each."""


class Opened:
    """A file's bytes, unpacked if its name says that they are packed."""

    def __init__(self, path: Path, file: pa.NativeFile, stream: pa.NativeFile) -> None:
        """Read from `stream`, whose packed bytes come from `file`; `opened` is the way in."""
        self._path, self._file, self._stream = path, file, stream
        self._packed = max(int(file.size()), 1)
        self._unpacked = 0

    def read(self, count: int) -> bytes:
        """Up to `count` next bytes; none at the end.

        Raises:
            SourceError: the file is damaged or cut short, or unpacks to far more than it holds.
        """
        try:
            data: bytes = self._stream.read(count)
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SourceError(f"{self._path} cannot be unpacked: {reason}; get the file again") from error
        self._unpacked += len(data)
        check_ratio(str(self._path), packed=self._packed, unpacked=self._unpacked)
        return data

    @property
    def fraction(self) -> float:
        """Share of the file read so far, in [0, 1]."""
        return min(int(self._file.tell()) / self._packed, 1.0)


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """A file's bytes, unpacked if its name ends in `.gz` or `.zst`."""
    codec = CODECS.get(path.suffix.lower())
    with pa.OSFile(str(path)) as file:
        if codec is None:
            yield Opened(path, file, file)
            return
        with pa.CompressedInputStream(file, codec) as stream:
            yield Opened(path, file, stream)


def check_ratio(name: str, *, packed: int, unpacked: int) -> None:
    """Refuse what unpacks to far more than it holds.

    Args:
        name: the file, for the message.
        packed: its size in bytes.
        unpacked: bytes that came out so far, or that it says will come out.

    Raises:
        SourceError: more than `FREE_BYTES` and more than `MOST_RATIO` times the packed size.
    """
    if unpacked > FREE_BYTES and unpacked > MOST_RATIO * packed:
        raise SourceError(
            f"{name} unpacks to more than {MOST_RATIO} times its {packed} bytes, like a decompression bomb; "
            "if it is sound, unpack it yourself and name the unpacked file"
        )
