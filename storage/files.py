"""The one place that writes: the bytes under a store's root, by relative path.

Every write of the store passes through here, so that durability is decided once and
faults can be injected at each write, link and flush. A path inside the store is
relative, uses `/` and plain characters, and cannot leave the root.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PART_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,199}")
_TEMPORARY = "_tmp"


def check_name(name: str) -> str:
    """The name itself, if it may name a data set, a subset or a score.

    Raises:
        ValueError: it is empty, too long, or has other characters than letters, digits, `.`, `_`, `-`.
    """
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!r} cannot be a name: use 1 to 100 letters, digits, '.', '_' or '-', "
            "starting with a letter or digit and without '..'"
        )
    return name


class Files:
    """Bytes by relative path under one local directory."""

    def __init__(self, root: Path) -> None:
        """Use a directory, which need not exist yet."""
        self.root = root.absolute()

    def locate(self, path: str) -> Path:
        """Where a relative path of the store lies on this machine.

        Raises:
            ValueError: the path is absolute, empty, or could leave the root.
        """
        parts = path.split("/")
        if not all(_PART_PATTERN.fullmatch(part) and ".." not in part for part in parts):
            raise ValueError(f"{path!r} is not a path inside the store")
        return self.root.joinpath(*parts)

    def exists(self, path: str) -> bool:
        """Whether a file or directory is there."""
        return self.locate(path).exists()

    def read(self, path: str) -> bytes:
        """All bytes of a file; FileNotFoundError if it is not there."""
        return self.locate(path).read_bytes()

    def names(self, directory: str) -> list[str]:
        """Sorted names in a directory; empty if there is no such directory."""
        try:
            return sorted(os.listdir(self.locate(directory)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def create(self, path: str, data: bytes) -> bool:
        """Write a file unless it exists; readers see all of it or nothing, also after a crash.

        Returns:
            Whether this call created the file; False if it was there already.
        """
        target = self.locate(path)
        with self._written(data) as temporary:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            flush_directory(target.parent)
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in place of what was there; readers see the old or the new bytes."""
        target = self.locate(path)
        with self._written(data) as temporary:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
            flush_directory(target.parent)

    def private(self, directory: str) -> str:
        """Make a new empty directory below `directory` that no other writer uses; its relative path."""
        path = f"{directory}/w{secrets.token_hex(8)}"
        self.locate(path).mkdir(parents=True)
        return path

    def sealed(self, path: str) -> tuple[int, str]:
        """Flush a file that a native library wrote.

        Returns:
            Its size in bytes and its SHA-256 in hexadecimal digits.
        """
        target = self.locate(path)
        with target.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        flush_directory(target.parent)
        return target.stat().st_size, digest

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all it holds; nothing happens if it is not there."""
        target = self.locate(path)
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A flushed temporary file with these bytes, on the same file system as the store."""
        directory = self.root / _TEMPORARY
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / secrets.token_hex(8)
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def flush_directory(directory: Path) -> None:
    """Make the names in a directory durable, where the platform can."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
