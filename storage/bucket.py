"""Bucket: the objects under a URL such as `s3://bucket/prefix`, through obstore; every refusal is one sentence.

Credentials and the endpoint are those of the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, ...), never of a recipe. A request is tried again a few times,
for half a minute at most, so that a server that is away ends in an error and not in silence.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import ObjectStoreError
from storage.listing import Listed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SCHEMES = ("s3", "gs")
"""What a URL may begin with: S3 and what speaks like it, Google Cloud Storage."""

_URL = re.compile(rf"({'|'.join(SCHEMES)})://[a-z0-9][a-z0-9._-]+(/[A-Za-z0-9_][A-Za-z0-9._@=+-]*)*", re.IGNORECASE)
_BLOCK_BYTES = 8 * 2**20
_MOST_PARTS = 9_000
_CREATE_TRIES = 5
_CLIENT = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "12h"}
_RETRIES = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}
_KEYS = {"s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}
_NO_BUCKET = ("NoSuchBucket", "bucket does not exist")
_NO_CREDENTIALS = ("/latest/api/token", "Missing AccessKeyId", "Missing SecretAccessKey", "metadata.google.internal")
_NO_ANSWER = ("error sending request", "timed out", "body error", "error decoding response")


class Bucket:
    """Reads, writes and lists the objects under one URL; all keys are relative to it."""

    def __init__(self, url: str) -> None:
        """Nothing is asked of the server yet.

        Args:
            url: as `checked_url` returns it.

        Raises:
            ObjectStoreError: obstore is not installed, or the environment's settings fit no client.
        """
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise ObjectStoreError(
                f"a store at {url} needs obstore: pip install 'tamis[objects]', or name a directory with --store"
            ) from None
        self.url = url
        self._api: Any = obstore
        with self._refusals("open", ""):
            self._store: Any = from_url(url, client_options=_client_options(), retry_config=_RETRIES)  # type: ignore[call-overload]

    def read(self, key: str) -> bytes:
        """All bytes of an object; FileNotFoundError if there is none."""
        with self._refusals("read", key):
            return bytes(self._api.get(self._store, key).bytes())

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, block by block; FileNotFoundError if there is none."""
        with self._refusals("read", key):
            for block in self._api.get(self._store, key).stream(min_chunk_size=_BLOCK_BYTES):
                yield bytes(block)

    def reader(self, key: str, size_bytes: int) -> io.BufferedReader:
        """An object of this size as a file that can seek: a request for each piece that is read."""
        with self._refusals("read", key):
            opened = self._api.open_reader(self._store, key, buffer_size=_BLOCK_BYTES, size=size_bytes)
            raw = _Pieces(self, key, opened)
            return io.BufferedReader(raw, _BLOCK_BYTES)

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object in place of what was there; readers see the old or the new bytes."""
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        with self._refusals("write", key):
            self._api.put(
                self._store,
                key,
                data,
                chunk_size=max(_BLOCK_BYTES, -(-size // _MOST_PARTS)),
                max_concurrency=4,
            )

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists (a put on the condition If-None-Match).

        A server may report a conflict although this very request wrote the object (it was sent again after an answer
        got lost) or although there is none (two requests met), so the object is looked at then.

        Returns:
            Whether the object has these bytes from this call, or from another one with equal bytes.

        Raises:
            ObjectStoreError: the server refuses, or reports conflicts without end.
        """
        for _ in range(_CREATE_TRIES):
            with self._refusals("write", key):
                try:
                    self._api.put(self._store, key, data, mode="create")
                except self._api.exceptions.AlreadyExistsError:
                    with suppress(FileNotFoundError):
                        return self.read(key) == data
                else:
                    return True
        raise ObjectStoreError(f"cannot write {self._place(key)}: {_CREATE_TRIES} conflicts without end; run it again")

    def find(self, key: str) -> Listed | None:
        """Size and time of an object, or None if there is none."""
        try:
            with self._refusals("read", key):
                return _listed(self._api.head(self._store, key))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> list[Listed]:
        """Every object whose key begins with a prefix and a slash, or every one for the empty prefix, sorted."""
        with self._refusals("list", prefix):
            found = self._api.list(self._store, prefix or None).collect()
        return sorted(map(_listed, found), key=lambda one: one.key)

    def names(self, prefix: str) -> Sequence[str]:
        """Sorted first parts of what follows a prefix and a slash."""
        with self._refusals("list", prefix):
            found = self._api.list_with_delimiter(self._store, prefix or None)
        keys = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        return sorted({key.rpartition("/")[2] for key in keys})

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects, in this order; nothing happens where there is none."""
        wanted = [*keys]
        with self._refusals("remove from", wanted[0] if wanted else ""), suppress(FileNotFoundError):
            self._api.delete(self._store, wanted)

    def _place(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url

    @contextmanager
    def _refusals(self, doing: str, key: str) -> Iterator[None]:
        """Turn what goes wrong inside the block into one sentence."""
        if _first_process() != os.getpid():
            raise ObjectStoreError(
                f"cannot {doing} {self._place(key)}: this process was forked from one that used an object store, "
                "and its connections do not survive that; start it with the method 'spawn' instead"
            )
        try:
            yield
        except FileNotFoundError as error:
            if doing == "write" or any(sign in str(error) for sign in _NO_BUCKET):
                raise ObjectStoreError(self._sentence(doing, key, f"{error} NoSuchBucket")) from None
            raise FileNotFoundError(f"there is no object {self._place(key)}") from None
        except self._api.exceptions.AlreadyExistsError:
            raise
        except (self._api.exceptions.BaseError, OSError) as error:
            raise ObjectStoreError(self._sentence(doing, key, f"{type(error).__name__} {error}")) from error

    def _sentence(self, doing: str, key: str, told: str) -> str:
        """What is wrong and what to do, from the words of a client's error."""
        answer = told.partition("\n\nDebug")[0]
        failed = re.search(r"status code: (5\d\d)", answer)
        endpoint = os.environ.get("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT", "the service's own endpoint"))
        if any(sign in answer for sign in _NO_BUCKET):
            reason = f"there is no bucket {self.url.split('/')[2]!r}; make it first, or correct the address"
        elif any(sign in answer for sign in _NO_CREDENTIALS):
            reason = f"there are no credentials; set {_KEYS[self.url.split(':')[0]]}"
        elif any(sign in answer for sign in ("PermissionDenied", "Unauthenticated", "401 ", "403 ")):
            reason = (
                f"the server refuses these credentials; check {_KEYS[self.url.split(':')[0]]}, and the rights to read, "
                "write, list and delete there"
            )
        elif "builder error" in answer:
            reason = f"{endpoint} is no address to send requests to; a plain http:// one needs AWS_ALLOW_HTTP=true"
        elif any(sign in answer for sign in _NO_ANSWER):
            reason = f"{endpoint} does not answer; check the network and AWS_ENDPOINT_URL, and run it again"
        elif failed:
            reason = f"{endpoint} is busy or broken (it answers with {failed[1]}); run it again later"
        else:
            reason = " ".join(answer.partition("<?xml")[0].split())[:300]
        return f"cannot {doing} {self._place(key)}: {reason}"


class _Pieces(io.RawIOBase):
    """An object as a raw file; what goes wrong while it is read is told as by its bucket."""

    def __init__(self, bucket: Bucket, key: str, pieces: Any) -> None:
        self._bucket, self._key, self._pieces = bucket, key, pieces

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        with self._bucket._refusals("read", self._key):
            found = bytes(self._pieces.read(len(view)))
        view[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._pieces.seek(offset, whence))

    def tell(self) -> int:
        return int(self._pieces.tell())


def checked_url(url: str) -> str:
    """The URL of a store without a slash at its end.

    Raises:
        ValueError: it is of another form than `s3://bucket/prefix`.
    """
    plain = url.rstrip("/")
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{one}://" for one in SCHEMES)
        raise ValueError(f"{url!r} cannot be a store: it begins with {scheme}://, not with {known}")
    if not _URL.fullmatch(plain) or ".." in plain:
        raise ValueError(
            f"{url!r} cannot be a store: write {scheme}://bucket/prefix with letters, digits, '.', '_', '-' and '/', "
            "without '..'; credentials come from the environment"
        )
    return plain


def _client_options() -> dict[str, Any]:
    """Time limits, and what the environment says of the connection."""
    options: dict[str, Any] = dict(_CLIENT)
    for name in ("allow_http", "allow_invalid_certificates"):
        options[name] = os.environ.get(f"AWS_{name.upper()}", "").lower() in ("true", "1", "yes")
    for name in ("proxy_url", "proxy_ca_certificate", "proxy_excludes"):
        if f"AWS_{name.upper()}" in os.environ:
            options[name] = os.environ[f"AWS_{name.upper()}"]
    return options


@cache
def _first_process() -> int:
    """The process that first used obstore; its threads do not exist in one that is forked from it."""
    return os.getpid()


def _listed(found: Any) -> Listed:
    return Listed(key=found["path"], size_bytes=found["size"], changed_at=found["last_modified"].timestamp())
