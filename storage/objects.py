"""Object stores: the bytes of a store as objects under a URL, with a directory of local copies for readers.

The server decides what is published: a file that must be created once is put on the condition that it is absent,
and a record is put after the files it lists. Polars, DuckDB and pyarrow read local copies. Files of artifacts never
change, so each is fetched once, held against the hash in its record, and kept in the cache:

- `<TAMIS_CACHE>/<bucket>-<hash>/artifacts/...`: copies, each with a time of change that says it was checked;
- `<TAMIS_CACHE>/<bucket>-<hash>/staging/w...`: what a live process of this machine is writing; sent when it is sealed.

Locks hold among the processes that share a cache. Across machines nothing tells a live writer from a killed one, so
there the grace period of a sweep is all that protects unfinished work.
"""

import copy
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from storage.bucket import Bucket, checked_url
from storage.errors import CorruptError, ObjectStoreError
from storage.files import PRIVATE_PATTERN, Answer, Files, Item, ListedFile, Watch, is_part
from storage.listing import Listing

_STAGING = "staging"
_CHECKED_NS = 10**18
"""Time of change of a copy whose hash was checked; whatever changes the copy later changes this too."""
_REQUESTS = 16
"""Requests under way at a time."""


class ObjectFiles(Files):
    """Bytes by relative path under one URL."""

    def __init__(self, url: str, watch: Watch | None = None) -> None:
        """Use the objects under a URL; nothing is asked of the server yet.

        Args:
            url: such as `s3://bucket/prefix`.
            watch: told of every write here and there, so that a test can stop the process at it.

        Raises:
            ValueError: the URL is of another form.
            ObjectStoreError: obstore is not installed.
        """
        self._bucket = Bucket(checked_url(url))
        self._index: Bucket | Listing = self._bucket
        self._cache = Files(_cache_directory(self._bucket.url), watch)
        self._staged: dict[str, str] = {}
        super().__init__(self._cache.root, watch)

    @property
    def location(self) -> str:
        """What names the store: its URL."""
        return self._bucket.url

    def locate(self, path: str) -> Path:
        """Where a path lies on this machine: a file being written here, or the place of its local copy.

        Raises:
            ValueError: the path is absolute, empty, or could leave the prefix.
        """
        return self._cache.locate(self._staged_path(path) or path)

    def local(self, listed: Sequence[ListedFile]) -> list[Path]:
        """Whole local copies of listed files; those that are not here yet are fetched.

        Raises:
            CorruptError: an object is missing, or is not what its record says.
        """
        missing = {one.path: one for one in listed if not self._is_here(one)}
        self.mapped(self._fetch, missing.values())
        return [self._cache.locate(one.path) for one in listed]

    def opened(self, path: str) -> BufferedReader:
        """The object itself, not its local copy, for reading; FileNotFoundError if there is none."""
        found = self._index.find(self._key(path))
        if found is None:
            raise FileNotFoundError(f"there is no object {path}")
        return self._bucket.reader(path, found.size_bytes)

    def snapshot(self) -> "ObjectFiles":
        """The same store with names, sizes and ages as they are now, from one listing; bytes are still read anew."""
        twin = copy.copy(self)
        twin._index = Listing(self._bucket.list(""))
        return twin

    def mapped(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """What a function that reads from the store says of each item, in order; several wait at a time."""
        with ThreadPoolExecutor(_REQUESTS) as threads:
            return list(threads.map(function, items))

    def exists(self, path: str) -> bool:
        """Whether a file is there; one that came after a snapshot is."""
        return self._index.find(self._key(path)) is not None or (
            self._index is not self._bucket and self._bucket.find(path) is not None
        )

    def read(self, path: str) -> bytes:
        """All bytes of a file; FileNotFoundError if it is not there."""
        staged = self._staged_path(path)
        return self._cache.read(staged) if staged else self._bucket.read(self._key(path))

    def names(self, directory: str) -> list[str]:
        """Sorted names in a directory; empty if there is no such directory."""
        return list(self._index.names(self._key(directory)))

    def top(self) -> list[str]:
        """Sorted names of what the store holds."""
        return list(self._index.names(""))

    def below(self, directory: str) -> list[str]:
        """Sorted paths of all files below a directory, whatever their names."""
        return [one.key for one in self._index.list(self._key(directory))]

    def create(self, path: str, data: bytes) -> bool:
        """Write a file unless it exists.

        Returns:
            Whether the file has these bytes from this call, or from another one with equal bytes.
        """
        staged = self._staged_path(path)
        if staged:
            return self._cache.create(staged, data)
        self.passing("put", path)
        created = self._bucket.create(self._key(path), data)
        self.passing("done", path)
        return created

    def mark(self, path: str, data: bytes) -> None:
        """Write the mark of a new store, unless it is there.

        Raises:
            ObjectStoreError: the server overwrites what it must not, so that versions could get lost.
        """
        if self.create(path, data) and self._bucket.create(self._key(path), data + b" "):
            self.remove(path)
            raise ObjectStoreError(
                f"the server of {self.location} overwrites what a put with If-None-Match must leave alone, so two "
                "writers could take one version number; update it, or use another server"
            )

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in place of what was there; readers see the old or the new bytes."""
        self.passing("put", path)
        self._bucket.put(self._key(path), data)
        self.passing("done", path)

    def private(self, directory: str) -> str:
        """A path below `directory` that no other writer uses; what is written there stays here until `sealed`.

        What killed writers of this machine left in the staging directory goes.
        """
        for one in self._cache.children(_STAGING):
            self._cache.reclaim(one)
        staged = self._cache.private(_STAGING)
        path = f"{self._key(directory)}/{staged.rpartition('/')[2]}"
        self._staged[path] = staged
        return path

    def release(self, path: str) -> None:
        """Give a private place up, once what it held is published."""
        staged = self._staged.pop(path, None)
        if staged is not None:
            self._cache.remove(staged)
            self._cache.release(staged)

    def is_held(self, path: str) -> bool:
        """Whether a live writer on this machine has this private place; writers elsewhere are not known."""
        name = path.rpartition("/")[2]
        return PRIVATE_PATTERN.fullmatch(name) is not None and self._cache.is_held(f"{_STAGING}/{name}")

    @contextmanager
    def locked(self, directory: str, *, exclusive: bool) -> Iterator[None]:
        """Hold a directory among the processes that share this cache while the block runs."""
        with self._cache.locked(f"locks/{self._key(directory)}", exclusive=exclusive):
            yield

    def sealed(self, path: str) -> tuple[int, str]:
        """Send a file that was written to a private place; it becomes its own local copy.

        Returns:
            Its size in bytes and its SHA-256 in hexadecimal digits.
        """
        staged = self._staged_path(path)
        if staged is None:
            raise ValueError(f"{path!r} is not in a private place of this process")
        size, digest = self._cache.sealed(staged)
        self.passing("put", path)
        self._bucket.put(path, self._cache.locate(staged))
        self.passing("done", path)
        self._cache.move(staged, path)
        self._mark_checked(path)
        return size, digest

    def remove(self, path: str) -> None:
        """Remove a file, or all that is below a directory, here and there; nothing happens if it is not there."""
        key = self._key(path)
        self.passing("remove", path)
        self._bucket.delete([key, *(one.key for one in self._bucket.list(key))])
        self._cache.remove(path)
        staged = self._staged_path(path)
        if staged is not None:
            self._cache.remove(staged)

    def prune(self, path: str) -> None:
        """Nothing: what holds no object does not exist."""

    def is_empty(self, path: str) -> bool:
        """False: what holds no object does not exist."""
        return False

    def walk(self, path: str) -> Iterator[str]:
        """Paths of all files below a directory, or the path itself if it is a file, as `children` lists them."""
        found = self.below(path)
        if not found and self.exists(path):
            yield path
        yield from (one for one in found if all(map(is_part, one.split("/"))))

    def size_bytes(self, path: str) -> int:
        """Size of a file; 0 if it is gone."""
        found = self._index.find(self._key(path))
        return found.size_bytes if found else 0

    def age_seconds(self, path: str, now: float) -> float:
        """How long ago a file, or the newest one below a directory, was written, by the server's clock."""
        key = self._key(path)
        one = self._index.find(key)
        found = [one] if one else self._index.list(key)
        if not found:
            raise FileNotFoundError(f"there is nothing at {path}")
        return now - max(one.changed_at for one in found)

    def _key(self, path: str) -> str:
        """The path itself, if it is one inside the store."""
        self._cache.locate(path)
        return path

    def _staged_path(self, path: str) -> str | None:
        """Where this process is writing what will be at a path, relative to the cache; None if it is not."""
        directory, _, name = path.rpartition("/")
        if path in self._staged:
            return self._staged[path]
        return f"{self._staged[directory]}/{name}" if directory in self._staged else None

    def _is_here(self, listed: ListedFile) -> bool:
        """Whether there is a local copy with the content that the record says."""
        place = self._cache.locate(listed.path)
        try:
            found = place.stat()
        except FileNotFoundError:
            return False
        if found.st_size != listed.size_bytes:
            return False
        if found.st_mtime_ns == _CHECKED_NS:
            return True
        with place.open("rb") as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == listed.sha256
        if same:
            self._mark_checked(listed.path)
        return same

    def _fetch(self, listed: ListedFile) -> None:
        self._cache.fill(listed.path, self._checked(listed))
        self._mark_checked(listed.path)

    def _checked(self, listed: ListedFile) -> Iterator[bytes]:
        """The blocks of an object; an error at the end if they are not what the record says."""
        digest, size = hashlib.sha256(), 0
        try:
            for block in self._bucket.stream(listed.path):
                digest.update(block)
                size += len(block)
                yield block
        except FileNotFoundError:
            raise CorruptError(f"{self.location} lacks the file {listed.path}; `tamis fsck` says what to do") from None
        if (size, digest.hexdigest()) != (listed.size_bytes, listed.sha256):
            raise CorruptError(
                f"{self.location}/{listed.path} has other content than its record says; `tamis fsck` says what to do"
            )

    def _mark_checked(self, path: str) -> None:
        os.utime(self._cache.locate(path), ns=(_CHECKED_NS, _CHECKED_NS))


def _cache_directory(url: str) -> Path:
    """Where local copies of this store's files lie."""
    named = os.environ.get("TAMIS_CACHE")
    above = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "/"), ".cache")
    base = Path(named) if named else Path(above, "tamis")
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ObjectStoreError(
            f"cannot keep local copies of {url} in {base}: {error.strerror}; set TAMIS_CACHE to a directory that this "
            "user may write to"
        ) from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    digest = hashlib.sha256(f"{endpoint} {url}".encode()).hexdigest()[:16]
    return base / f"{url.split('/')[2].lower()}-{digest}"
