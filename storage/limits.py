"""Limits: how much memory, how many threads and how much time one query may take."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.errors import QueryError

if TYPE_CHECKING:
    import duckdb

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)")
_LEAST_MEMORY_BYTES = 16 * 10**6
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one query may take; what does not fit in memory goes to a temporary file where the query allows it."""

    memory_bytes: int | None = None
    """Memory in bytes, at least 16 MB; None takes DuckDB's own bound, 80 % of the machine's."""
    threads: int | None = None
    """Threads, at least 1; None takes one per core."""
    timeout_seconds: float | None = None
    """Seconds until the query is stopped, above 0; None waits for ever."""

    def __post_init__(self) -> None:
        if self.memory_bytes is not None and self.memory_bytes < _LEAST_MEMORY_BYTES:
            raise ValueError(f"memory_bytes must be at least {_LEAST_MEMORY_BYTES}, got {self.memory_bytes}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.timeout_seconds is not None and not self.timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be above 0, got {self.timeout_seconds}")

    def settings(self) -> dict[str, str | int]:
        """DuckDB's settings for memory and threads."""
        found: dict[str, str | int] = {}
        if self.memory_bytes is not None:
            found["memory_limit"] = f"{self.memory_bytes}B"
        if self.threads is not None:
            found["threads"] = self.threads
        return found


def parse_size(text: str) -> int:
    """Bytes of a size such as `2GB`, `500 MB` or `1.5GiB`.

    Raises:
        ValueError: it is not a number with a unit.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(f"a size must be a number with a unit, such as 500MB, 2GB or 1.5GiB, got {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


class Deadline:
    """When a query must have ended."""

    def __init__(self, seconds: float | None) -> None:
        """Count from now; None never passes."""
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left_seconds(self) -> float | None:
        """Seconds left, at least 0; None if there is no end."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self.left_seconds == 0.0

    def check(self) -> None:
        """Stop a query whose time is over.

        Raises:
            QueryError: it is.
        """
        if self.passed:
            raise self.error()

    def error(self) -> QueryError:
        """The error for a query that took too long."""
        return QueryError(
            f"the query was stopped after {self.seconds:g} s; allow it more time (--timeout), "
            "or let it read fewer columns or rows"
        )


@contextmanager
def stopped_in_time(connection: "duckdb.DuckDBPyConnection", deadline: Deadline) -> Iterator[None]:
    """Inside the block, the connection's query is interrupted once the deadline has passed."""
    if deadline.left_seconds is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        ended.wait(deadline.left_seconds)
        # An interrupt before a query has begun is lost, so it is repeated.
        while not ended.wait(_PAUSE_SECONDS):
            connection.interrupt()

    watcher = threading.Thread(target=watch, name="tamis-sql-timeout", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
