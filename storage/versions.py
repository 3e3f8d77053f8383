"""Versions: a name's numbered artifacts, such as `fashion-clean@3`; published once, never changed.

A version is a small file `versions/<kind>/<name>/<number>.json` that is created only if it
is absent. Two publishers that want the same number cannot both have it: the loser takes the next.
A tag (`storage/tags.py`) stands wherever a name can.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from storage.errors import ConflictError, NotFoundError
from storage.files import NAME_PATTERN, Files, check_name
from storage.numbered import TRIES, last_number, note_path, read_note, tries
from storage.sealed import sealed
from storage.tags import Tag, Tags

KINDS = ("dataset", "scored", "subset", "signals", "model")
"""What can have a name: data sets, the score columns of a data set, subsets, signals that a user brought, models."""


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
        self.tags = Tags(files)

    def publish(
        self,
        kind: str,
        name: str,
        artifact: str,
        recipe: Mapping[str, Any] | None = None,
        *,
        after: Version | None = None,
    ) -> Version:
        """Make an artifact the name's next version, unless it is the newest one already.

        Args:
            kind: one of `KINDS`.
            name: the name; a tag of this kind cannot be one.
            artifact: id of the artifact.
            recipe: the recipe of the run that made it, where there was one.
            after: publish only if this is the newest version; for what was made by changing that version.

        Returns:
            The new version, or the newest one if that points to this artifact.

        Raises:
            ValueError: the name cannot be one, or is a tag.
            ConflictError: other writers took every number this call tried for, or one came after `after`.
        """
        check_name(name)
        tag = self.tags.newest(kind, name)
        if tag is not None:
            raise ValueError(f"{name!r} is a tag, now of {tag.reference}; publish under another name")
        for _ in tries():
            number = self.newest(kind, name)
            if number:
                newest = self._read(kind, name, number)
                if newest.artifact == artifact:
                    return newest
            if after is not None and number != after.number:
                raise ConflictError(f"{after} is no longer the newest version of {name!r}: another writer published")
            version = Version(
                kind=kind,
                name=name,
                number=number + 1,
                artifact=artifact,
                recipe=recipe,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            if self._files.create(_path(kind, name, number + 1), sealed(asdict(version))):
                return version
        raise ConflictError(f"could not publish {name!r}: {TRIES} tries lost to other writers; run it again")

    def newest(self, kind: str, name: str) -> int:
        """The highest number of a name; 0 if it has none."""
        return last_number(self._files, f"versions/{kind}/{name}")

    def names(self, kind: str) -> list[str]:
        """Sorted names that have a version of this kind."""
        return [name for name in self._files.names(f"versions/{kind}") if self.newest(kind, name)]

    def all(self, kind: str, name: str) -> list[Version]:
        """Every version of a name, oldest first."""
        numbers = range(1, self.newest(kind, name) + 1)
        return self._files.mapped(lambda number: self._read(kind, name, number), numbers)

    def find(self, kind: str, reference: str) -> Version:
        """The version that `name`, `name@latest` or `name@3` stands for; a tag's own numbers are those of its moves.

        Raises:
            ValueError: the reference is not of that form.
            NotFoundError: no such name or number; the message lists those that exist, and a name that is near.
        """
        name, number = parse_reference(reference)
        newest = self.newest(kind, name)
        if not newest:
            tag = self.tags.find(kind, name, number)
            if tag is not None:
                return self._read(kind, tag.name, tag.version)
            known = [*self.names(kind), *self.tags.names(kind)]
            near = "".join(f" did you mean {one!r}?" for one in get_close_matches(name, known, n=1))
            listed = ", ".join(known) or "none yet"
            raise NotFoundError(f"there is no {kind} named {name!r};{near} the store has {listed}")
        if number is None:
            return self._read(kind, name, newest)
        if not 1 <= number <= newest:
            raise NotFoundError(
                f"{kind} {name!r} has no version {number}; it has "
                + (f"{name}@1" if newest == 1 else f"{name}@1 to {name}@{newest}")
            )
        return self._read(kind, name, number)

    def knows(self, kind: str, name: str) -> bool:
        """Whether a name has a version of this kind, or is a tag of one."""
        return bool(self.newest(kind, name)) or self.tags.newest(kind, name) is not None

    def tag(self, kind: str, tag: str, reference: str) -> Tag:
        """Let a tag stand for a version from now on.

        Returns:
            The tag as it now is: moved on by one, or as it was if it stands for that version already.

        Raises:
            ValueError: the tag cannot be a name, or is one of this kind.
            NotFoundError: there is no such version.
        """
        check_name(tag)
        version = self.find(kind, reference)
        if self.newest(kind, tag):
            raise ValueError(f"{tag!r} is the name of a {kind}, so it cannot be a tag of one; choose another")
        return self.tags.move(kind, tag, version.name, version.number)

    def _read(self, kind: str, name: str, number: int) -> Version:
        called, lost = f"version {name}@{number} of {kind}", "cannot be read: its file is missing"
        return read_note(self._files, _path(kind, name, number), Version, called, lost)


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
    return note_path(f"versions/{kind}/{name}", number)
