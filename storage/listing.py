"""Listing: the objects under a URL as they were at one moment, so that a question about all of them asks once."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One object of a listing."""

    key: str
    """Its name, relative to the URL."""
    size_bytes: int
    changed_at: float
    """When it was last written, by the server's clock: seconds since 1970."""


class Listing:
    """Answers from memory what a `Bucket` asks its server."""

    def __init__(self, listed: Sequence[Listed]) -> None:
        """Keep all objects of a bucket, sorted by key."""
        self._listed = listed
        self._keys = [one.key for one in listed]

    def find(self, key: str) -> Listed | None:
        """Size and time of an object, or None if there was none."""
        place = bisect_left(self._keys, key)
        return self._listed[place] if place < len(self._keys) and self._keys[place] == key else None

    def list(self, prefix: str) -> Sequence[Listed]:
        """Every object whose key begins with a prefix and a slash, or every one for the empty prefix, sorted."""
        if not prefix:
            return self._listed
        first, last = (bisect_left(self._keys, f"{prefix}{sign}") for sign in "/0")
        return self._listed[first:last]

    def names(self, prefix: str) -> Sequence[str]:
        """Sorted first parts of what follows a prefix and a slash."""
        start = len(prefix) + 1 if prefix else 0
        return sorted({one.key[start:].partition("/")[0] for one in self.list(prefix)})
