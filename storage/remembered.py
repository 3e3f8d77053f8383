"""Artifacts whose records are read once: for a question that meets the same record again and again."""

from storage.artifacts import Artifacts, Record
from storage.errors import NotFoundError


class RememberedArtifacts(Artifacts):
    """Keeps every record it has read, so it is made anew for each question: garbage collection may remove artifacts."""

    def __init__(self, artifacts: Artifacts) -> None:
        """Read what these artifacts read."""
        super().__init__(artifacts._files)
        self._known: dict[str, Record] = {}

    def record(self, artifact_id: str) -> Record:
        """The record of a complete artifact.

        Raises:
            NotFoundError: there is none.
            CorruptError: it cannot be read, or a newer tamis wrote it.
        """
        if artifact_id not in self._known:
            self._known[artifact_id] = super().record(artifact_id)
        return self._known[artifact_id]

    def records(self, *kinds: str) -> list[Record]:
        """Records of all complete artifacts, or of those of some kinds, sorted by id; one read for each.

        Raises:
            CorruptError: one cannot be read, or a newer tamis wrote it.
        """
        names = (path.rpartition("/")[2] for path in self._files.children("artifacts"))
        wanted = [name for name in names if not kinds or name.rpartition("-")[0] in kinds]
        return [one for one in self._files.mapped(self._record_or_none, wanted) if one is not None]

    def _record_or_none(self, artifact_id: str) -> Record | None:
        try:
            return self.record(artifact_id)
        except NotFoundError:  # still being written, or removed since
            return None
