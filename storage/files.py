"""The one place that writes: the bytes under a store's root, by relative path.

Every write of the store passes through here, so that durability is decided once and
faults can be injected at each write, link and flush. A path inside the store is
relative, uses `/` and plain characters, and cannot leave the root.

What is being written is locked by its writer (`flock`, which ends with the process), so that
whoever clears up after killed writers can tell them from live ones without a clock.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Protocol, TypeVar

from storage.errors import CorruptError
from storage.refusals import refusals_of

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PART_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,199}")
TEMPORARY = "_tmp"
"""Directory of files that are linked or moved to their place once they are whole."""
PRIVATE_PATTERN = re.compile(r"w[0-9a-f]{16}")
"""Names of directories that `Files.private` makes."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Watch = Callable[[str, str], None]
"""Told of an operation and a relative path, right before or after something durable happens."""


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


class ListedFile(Protocol):
    """What a record says of one of its files."""

    @property
    def path(self) -> str:
        """Path relative to the store's root."""

    @property
    def size_bytes(self) -> int:
        """Size."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the content in hexadecimal digits."""


class Files:
    """Bytes by relative path under one local directory; `storage/objects.py` has the same under a URL."""

    def __init__(self, root: Path, watch: Watch | None = None) -> None:
        """Use a directory, which need not exist yet.

        Args:
            root: the directory.
            watch: told of every write, link, replacement, removal and flush, so that a test can stop the process there.
        """
        self.root = root.absolute()
        self._watch = watch
        self._locks: dict[str, int] = {}

    @property
    def location(self) -> str:
        """What names the store from anywhere on this machine: its directory, or the URL of an object store."""
        return str(self.root)

    def locate(self, path: str) -> Path:
        """Where a relative path of the store lies on this machine, for who writes there.

        Raises:
            ValueError: the path is absolute, empty, or could leave the root.
        """
        parts = path.split("/")
        if not all(map(is_part, parts)):
            raise ValueError(f"{path!r} is not a path inside the store")
        return self.root.joinpath(*parts)

    def local(self, listed: Sequence[ListedFile]) -> list[Path]:
        """Where files that a record lists can be read on this machine.

        Raises:
            CorruptError: one is missing, or has not the size that its record says.
        """
        for one in listed:
            try:
                found = self.locate(one.path).stat().st_size
            except FileNotFoundError:
                raise CorruptError(
                    f"the store {self.root} lacks its file {one.path}; `tamis fsck` says what to do"
                ) from None
            if found != one.size_bytes:
                raise CorruptError(
                    f"{one.path} of the store {self.root} cannot be read: it has {found} bytes and its record says "
                    f"{one.size_bytes}; `tamis fsck` says what to do"
                )
        return [self.locate(one.path) for one in listed]

    def opened(self, path: str) -> BufferedReader:
        """A file as the store holds it, for reading; FileNotFoundError if there is none, DiskError if it cannot be."""
        place = self.locate(path)
        if not place.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        with refusals_of("read", path, self.root):
            return place.open("rb")

    def snapshot(self) -> "Files":
        """The same bytes for a question about all of them: where asking is dear, names and ages are asked once."""
        return self

    def mapped(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """What a function that reads from the store says of each item, in order: where reading waits, side by side."""
        return [function(item) for item in items]

    def exists(self, path: str) -> bool:
        """Whether a file or directory is there; DiskError if that cannot be told."""
        with refusals_of("read", path, self.root):
            return self.locate(path).exists()

    def read(self, path: str) -> bytes:
        """All bytes of a file; FileNotFoundError if it is not there, DiskError if it cannot be read."""
        with refusals_of("read", path, self.root):
            return self.locate(path).read_bytes()

    def names(self, directory: str) -> list[str]:
        """Sorted names in a directory; empty if there is no such directory."""
        with refusals_of("read", directory, self.root), suppress(FileNotFoundError, NotADirectoryError):
            return sorted(os.listdir(self.locate(directory)))
        return []

    def top(self) -> list[str]:
        """Sorted names of what lies in the root itself; empty if there is no such directory."""
        return sorted(os.listdir(self.root)) if self.root.is_dir() else []

    def below(self, directory: str) -> list[str]:
        """Sorted paths of all files below a directory, whatever their names."""
        found = (path for path in self.locate(directory).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file unless it exists; readers see all of it or nothing, also after a crash.

        Returns:
            Whether this call created the file; False if it was there already.
        """
        target = self.locate(path)
        with refusals_of("write", path, self.root), self._written((data,)) as temporary:
            make_directory(target.parent)
            self.passing("link", path)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            self.passing("linked", path)
            flush_directory(target.parent)
            self.passing("flushed", path)
        return True

    def mark(self, path: str, data: bytes) -> None:
        """Write the mark of a new store, unless it is there, where `create` does what it promises."""
        self.create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in place of what was there; readers see the old or the new bytes."""
        self.fill(path, (data,))

    def fill(self, path: str, blocks: Iterable[bytes]) -> None:
        """Write a file on this machine from blocks of bytes, as `replace` does; nothing where they end in an error."""
        target = self.locate(path)
        with refusals_of("write", path, self.root), self._written(blocks) as temporary:
            make_directory(target.parent)
            self.passing("replace", path)
            os.replace(temporary, target)
            self.passing("replaced", path)
            flush_directory(target.parent)
            self.passing("flushed", path)

    def private(self, directory: str) -> str:
        """Make a new empty directory below `directory` that no other writer uses; its relative path.

        It stays locked until `release` or the end of the process.
        """
        path = f"{directory}/w{secrets.token_hex(8)}"
        with refusals_of("write", path, self.root):
            self.passing("private", path)
            self._hold(path)
        return path

    def _hold(self, path: str) -> None:
        """Make a private directory and lock it."""
        while path not in self._locks:
            with suppress(FileNotFoundError):  # someone removed the empty directory before it was locked
                make_directory(self.locate(path))
                descriptor = os.open(self.locate(path), os.O_RDONLY)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self.locate(path).exists():
                    self._locks[path] = descriptor
                else:
                    os.close(descriptor)

    def release(self, path: str) -> None:
        """Unlock a private directory, once what it holds is published."""
        descriptor = self._locks.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def is_held(self, path: str) -> bool:
        """Whether a live writer has locked this private directory or temporary file; False if it is gone."""
        try:
            with _opened(self.locate(path)) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def reclaim(self, path: str) -> None:
        """Remove a private directory of this machine with all it holds, unless a live writer has it."""
        with suppress(FileNotFoundError, BlockingIOError), _opened(self.locate(path)) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.remove(path)

    def move(self, path: str, target: str) -> None:
        """Give a whole file another place on this machine, over what was there."""
        with refusals_of("write", target, self.root):
            make_directory(self.locate(target).parent)
            self.passing("replace", target)
            os.replace(self.locate(path), self.locate(target))
            self.passing("replaced", target)

    @contextmanager
    def locked(self, directory: str, *, exclusive: bool) -> Iterator[None]:
        """Hold a directory while the block runs: many may share it, or one has it alone; others wait."""
        place = self.locate(directory)
        with refusals_of("write", directory, self.root):
            make_directory(place)
        with _opened(place) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield

    def passing(self, operation: str, path: str) -> None:
        """Tell the watch, if there is one, of a moment at which a fault may strike."""
        if self._watch is not None:
            self._watch(operation, path)

    def sealed(self, path: str) -> tuple[int, str]:
        """Flush a file that a native library wrote.

        Returns:
            Its size in bytes and its SHA-256 in hexadecimal digits.
        """
        target = self.locate(path)
        with refusals_of("write", path, self.root):
            self.passing("written", path)
            with target.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
            flush_directory(target.parent)
            self.passing("sealed", path)
            return target.stat().st_size, digest

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all it holds; nothing happens if it is not there."""
        target = self.locate(path)
        with refusals_of("write", path, self.root):
            self.passing("remove", path)
            if target.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink(missing_ok=True)

    def prune(self, path: str) -> None:
        """Remove the empty directories at and below a path that no writer holds; nothing happens to a file."""
        for folder, _, _ in os.walk(self.locate(path), topdown=False):
            with suppress(OSError), _opened(Path(folder)) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(folder).rmdir()

    def is_empty(self, path: str) -> bool:
        """Whether this is a directory without anything in it."""
        place = self.locate(path)
        return place.is_dir() and not any(place.iterdir())

    def children(self, directory: str) -> list[str]:
        """Sorted paths of what is in a directory and has a name that a store gives."""
        return [f"{directory}/{name}" for name in self.names(directory) if is_part(name)]

    def walk(self, path: str) -> Iterator[str]:
        """Paths of all files below a directory, or the path itself if it is a file, as `children` lists them."""
        if self.locate(path).is_file():
            yield path
        for child in self.children(path):
            yield from self.walk(child)

    def size_bytes(self, path: str) -> int:
        """Size of a file; 0 if it is gone."""
        try:
            return self.locate(path).stat().st_size
        except FileNotFoundError:
            return 0

    def age_seconds(self, path: str, now: float) -> float:
        """How long ago a file or directory was changed; negative where that lies in the future of the clock."""
        return now - self.locate(path).stat().st_mtime

    @contextmanager
    def _written(self, blocks: Iterable[bytes]) -> Iterator[Path]:
        """A flushed temporary file with these bytes, on the same file system as the store."""
        directory = self.root / TEMPORARY
        make_directory(directory)
        temporary = directory / secrets.token_hex(8)
        path = f"{TEMPORARY}/{temporary.name}"
        self.passing("write", path)
        try:
            with temporary.open("xb") as stream:
                fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
                self.passing("opened", path)
                for block in blocks:
                    stream.write(block)
                stream.flush()
                self.passing("written", path)
                os.fsync(stream.fileno())
                yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def is_part(name: str) -> bool:
    """Whether a name may stand between the slashes of a path inside the store."""
    return _PART_PATTERN.fullmatch(name) is not None and ".." not in name


@contextmanager
def native_write(files: Files, path: str, refusal: type[Exception]) -> Iterator[Path]:
    """Where a native library shall write a file inside the block: two moments at which a fault may strike.

    Args:
        files: bytes of the store.
        path: the file, which `Files.sealed` or `Files.read` takes over after the block.
        refusal: the library's error when the operating system refuses.

    Raises:
        DiskError: the disk is full, or the operating system refuses otherwise.
    """
    with refusals_of("write", path, files.root, native=refusal):
        files.passing("native write", path)
        yield files.locate(path)
        files.passing("native written", path)


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, where they are missing, and their names durable."""
    missing = []
    place = directory
    while not place.exists():
        missing.append(place)
        place = place.parent
    directory.mkdir(parents=True, exist_ok=True)
    for one in missing:
        flush_directory(one.parent)


def flush_directory(directory: Path) -> None:
    """Make the names in a directory durable, where the platform can."""
    with suppress(OSError), _opened(directory) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor for reading, closed after the block."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
