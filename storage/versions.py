"""Versions: a name's numbered artifacts, such as `fashion-clean@3`; published once, never changed.

A version is a small file `versions/<kind>/<name>/<number>.json` that is created only if it
is absent. Two publishers that want the same number cannot both have it: the loser takes the next.
"""

import json
import random
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from storage.errors import ConflictError, CorruptError, NotFoundError
from storage.files import NAME_PATTERN, Files, check_name

_TRIES = 200
_NUMBER = re.compile(r"([0-9]{8})\.json")
KINDS = ("dataset", "scored", "subset")
"""What can have a name: data sets, the score columns of a data set, subsets."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One published version of a name."""

    kind: str
    name: str
    number: int
    artifact: str
    """Id of the artifact it points to."""
    recipe: Mapping[str, Any] | None
    """The recipe of the run that published it, where there was one."""
    created_at: str

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


class Versions:
    """Publishes and finds versions."""

    def __init__(self, files: Files) -> None:
        """Use the bytes of one store."""
        self._files = files

    def publish(self, kind: str, name: str, artifact: str, recipe: Mapping[str, Any] | None = None) -> Version:
        """Make an artifact the name's next version, unless it is the newest one already.

        Returns:
            The new version, or the newest one if that points to this artifact.

        Raises:
            ConflictError: other writers took every number this call tried for.
        """
        check_name(name)
        for attempt in range(_TRIES):
            number = self.newest(kind, name)
            if number:
                newest = self._read(kind, name, number)
                if newest.artifact == artifact:
                    return newest
            version = Version(
                kind=kind,
                name=name,
                number=number + 1,
                artifact=artifact,
                recipe=recipe,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            text = json.dumps(asdict(version), indent=1).encode()
            if self._files.create(_path(kind, name, number + 1), text):
                return version
            time.sleep(random.uniform(0, 0.001 * min(2**attempt, 256)))  # noqa: S311 (spreads retries)
        raise ConflictError(f"could not publish {name!r}: {_TRIES} tries lost to other writers; run it again")

    def newest(self, kind: str, name: str) -> int:
        """The highest number of a name; 0 if it has none."""
        numbers = [
            int(found[1]) for found in map(_NUMBER.fullmatch, self._files.names(f"versions/{kind}/{name}")) if found
        ]
        return max(numbers, default=0)

    def names(self, kind: str) -> list[str]:
        """Sorted names that have a version of this kind."""
        return [name for name in self._files.names(f"versions/{kind}") if self.newest(kind, name)]

    def all(self, kind: str, name: str) -> list[Version]:
        """Every version of a name, oldest first."""
        return [self._read(kind, name, number) for number in range(1, self.newest(kind, name) + 1)]

    def find(self, kind: str, reference: str) -> Version:
        """The version that `name`, `name@latest` or `name@3` stands for.

        Raises:
            ValueError: the reference is not of that form.
            NotFoundError: no such name or number; the message lists those that exist.
        """
        name, number = parse_reference(reference)
        newest = self.newest(kind, name)
        if not newest:
            known = ", ".join(self.names(kind)) or "none yet"
            raise NotFoundError(f"there is no {kind} named {name!r}; the store has {known}")
        if number is None:
            return self._read(kind, name, newest)
        if not 1 <= number <= newest:
            raise NotFoundError(
                f"{kind} {name!r} has no version {number}; it has "
                + (f"{name}@1" if newest == 1 else f"{name}@1 to {name}@{newest}")
            )
        return self._read(kind, name, number)

    def _read(self, kind: str, name: str, number: int) -> Version:
        try:
            return Version(**json.loads(self._files.read(_path(kind, name, number))))
        except (FileNotFoundError, TypeError, ValueError) as error:
            raise CorruptError(f"version {name}@{number} of {kind} cannot be read: {error}") from error


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Name and number of `name@3`; the number is None for `name` and `name@latest`.

    Raises:
        ValueError: it is not of that form.
    """
    name, _, number = reference.partition("@")
    if not NAME_PATTERN.fullmatch(name) or ".." in name or (number and number != "latest" and not number.isdecimal()):
        raise ValueError(f"{reference!r} is not a version: write name, name@latest or name@3")
    return name, int(number) if number.isdecimal() else None


def _path(kind: str, name: str, number: int) -> str:
    return f"versions/{kind}/{name}/{number:08d}.json"
