"""Tags: names that move, such as `production`, each standing for one version of a subset or data set at a time.

Nothing that was published changes, so a tag's moves are themselves numbered: its newest file
`tags/<kind>/<tag>/<number>.json` counts, and the older ones tell what it stood for before.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from storage.errors import ConflictError, NotFoundError
from storage.files import Files
from storage.numbered import TRIES, last_number, note_path, read_note, tries
from storage.sealed import sealed


@dataclass(frozen=True, kw_only=True)
class Tag:
    """What a tag stands for since one of its moves."""

    kind: str
    """Kind of the version: `dataset`, `scored`, `subset`, `signals`, `model`."""
    tag: str
    number: int
    """Counts the moves of this tag, from 1."""
    name: str
    """Name of the version that it stands for."""
    version: int
    """Number of that version."""
    created_at: str

    def __str__(self) -> str:
        return f"{self.tag}@{self.number}"

    @property
    def reference(self) -> str:
        """The version that it stands for, such as `fashion-clean@3`."""
        return f"{self.name}@{self.version}"


class Tags:
    """Moves and finds tags; `Versions` checks that what they stand for exists."""

    def __init__(self, files: Files) -> None:
        """Use the bytes of one store."""
        self._files = files

    def move(self, kind: str, tag: str, name: str, version: int) -> Tag:
        """Let a tag stand for a version, unless it does already.

        Raises:
            ConflictError: other writers moved it at every try.
        """
        for _ in tries():
            newest = self.newest(kind, tag)
            if newest is not None and (newest.name, newest.version) == (name, version):
                return newest
            moved = Tag(
                kind=kind,
                tag=tag,
                number=newest.number + 1 if newest else 1,
                name=name,
                version=version,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            if self._files.create(_path(kind, tag, moved.number), sealed(asdict(moved))):
                return moved
        raise ConflictError(f"could not move the tag {tag!r}: {TRIES} tries lost to other writers; run it again")

    def names(self, kind: str) -> list[str]:
        """Sorted tags of a kind."""
        return [tag for tag in self._files.names(f"tags/{kind}") if self.last(kind, tag)]

    def last(self, kind: str, tag: str) -> int:
        """How often a tag was moved; 0 if there is no such tag."""
        return last_number(self._files, f"tags/{kind}/{tag}")

    def newest(self, kind: str, tag: str) -> Tag | None:
        """What a tag stands for now; None if there is no such tag."""
        number = self.last(kind, tag)
        return self.read(kind, tag, number) if number else None

    def find(self, kind: str, tag: str, number: int | None) -> Tag | None:
        """A move of a tag, the newest where no number is given; None if there is no such tag.

        Raises:
            NotFoundError: the tag has no such number.
        """
        last = self.last(kind, tag)
        if not last:
            return None
        if number is not None and not 1 <= number <= last:
            moves = f"{tag}@1" if last == 1 else f"{tag}@1 to {tag}@{last}"
            raise NotFoundError(f"the tag {tag!r} has no number {number}; it has {moves}")
        return self.read(kind, tag, number or last)

    def all(self, kind: str, tag: str) -> list[Tag]:
        """Every move of a tag, oldest first."""
        return [self.read(kind, tag, number) for number in range(1, self.last(kind, tag) + 1)]

    def read(self, kind: str, tag: str, number: int) -> Tag:
        """One move of a tag.

        Raises:
            CorruptError: it is missing or cannot be read.
        """
        called, lost = f"number {number} of the tag {tag!r}", f"is missing from {kind}s"
        return read_note(self._files, _path(kind, tag, number), Tag, called, lost)


def _path(kind: str, tag: str, number: int) -> str:
    return note_path(f"tags/{kind}/{tag}", number)
