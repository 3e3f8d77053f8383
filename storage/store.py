"""Store: the one door to everything on disk; typed reads, atomic writes, names and versions."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from storage.artifacts import Artifacts, Draft, Record, Request
from storage.checkpoints import Checkpoints, from_bytes
from storage.damage import damage_told
from storage.dataset import Dataset
from storage.errors import CorruptError, NotFoundError
from storage.files import TEMPORARY, Files, check_name
from storage.growth import files_since
from storage.handover import hand_over
from storage.index import ExampleIndex
from storage.roots import files_at
from storage.schemas import SCHEMA_VERSION, check_table
from storage.sealed import sealed, unsealed
from storage.subset import Subset
from storage.tables import (
    arrays_from_table,
    scores_from_table,
    scores_to_table,
    selection_from_table,
    selection_to_table,
    signals_from_tables,
    synthetic_from_tables,
    synthetic_to_tables,
)
from storage.tags import Tag
from storage.values import Array, Schedule, Scores, Selection, Signals, SyntheticRows
from storage.versions import Version, Versions

if TYPE_CHECKING:
    from storage.diff import Diff
    from storage.limits import Limits

_MARK = "store.json"


class Store:
    """A root directory that holds artifacts, versions and nothing else; nobody else knows a path.

    `Store.open` reads an existing store, `Store.create` makes one where there is none.
    """

    def __init__(self, files: Files) -> None:
        """Use a root; `open` and `create` are the ways in."""
        self.files = files
        self.artifacts = Artifacts(files)
        self.checkpoints = Checkpoints(files)
        self._versions = Versions(files)

    @classmethod
    def open(cls, root: str | Path) -> "Store":
        """The store at this directory, or at this URL such as `s3://bucket/prefix`.

        Raises:
            NotFoundError: there is no store.
            ObjectStoreError: the object store does not answer or refuses, or obstore is not installed.
        """
        files = files_at(root)
        if not _is_marked(files):
            raise NotFoundError(f"there is no store at {root}; `tamis run digits` makes one, --store names another")
        return cls(files)

    @classmethod
    def create(cls, root: str | Path | Files) -> "Store":
        """The store at this directory or URL, made if it is not there yet.

        Raises:
            ValueError: the directory holds something else.
            ObjectStoreError: the object store does not answer or refuses, or obstore is not installed.
        """
        files = root if isinstance(root, Files) else files_at(root)
        if not _is_marked(files):
            others = {*files.top()} - {TEMPORARY}
            if others and "artifacts" not in others:
                raise ValueError(
                    f"{files.location} is not empty and not a tamis store; name another directory with --store"
                )
            files.mark(_MARK, json.dumps({"format": "tamis store", "schema_version": 1}).encode())
        return cls(files)

    @property
    def root(self) -> Path:
        """The store's directory; for an object store that of its local copies."""
        return self.files.root

    @property
    def location(self) -> str:
        """What `Store.open` takes to open this store again, from anywhere on this machine."""
        return self.files.location

    def has(self, artifact_id: str) -> bool:
        """Whether this artifact is complete."""
        return self.artifacts.has(artifact_id)

    def record(self, artifact_id: str) -> Record:
        """The record of a complete artifact."""
        return self.artifacts.record(artifact_id)

    def write(self, request: Request) -> AbstractContextManager[Draft]:
        """Fill a draft; leaving the block publishes the artifact, an exception discards it."""
        return self.artifacts.write(request)

    def publish(
        self,
        kind: str,
        name: str,
        artifact_id: str,
        recipe: Mapping[str, Any] | None = None,
        *,
        after: Version | None = None,
    ) -> Version:
        """Make an artifact the name's next version, unless it is the newest one already.

        Raises:
            NotFoundError: there is no such artifact.
            ValueError: the name is a tag.
            ConflictError: `after` is given and no longer the newest version.
        """
        with self.files.locked("versions", exclusive=False):
            if not self.has(artifact_id):
                raise NotFoundError(f"the store has no artifact {artifact_id!r}")
            return self._versions.publish(kind, name, artifact_id, recipe, after=after)

    def version(self, kind: str, reference: str) -> Version:
        """The version that `name`, `name@latest`, `name@3` or a tag stands for."""
        return self._versions.find(kind, reference)

    def tag(self, kind: str, tag: str, reference: str) -> Tag:
        """Let a tag such as `production` stand for a version from now on, wherever a name can stand."""
        return self._versions.tag(kind, tag, reference)

    def tags(self, kind: str) -> list[Tag]:
        """What every tag of a kind stands for now."""
        found = (self._versions.tags.newest(kind, tag) for tag in self._versions.tags.names(kind))
        return [one for one in found if one is not None]

    def tag_moves(self, kind: str, tag: str) -> list[Tag]:
        """Everything that a tag has stood for, oldest first; empty if there is no such tag."""
        return self._versions.tags.all(kind, tag)

    def knows(self, kind: str, name: str) -> bool:
        """Whether a name has a version of this kind, or is a tag of one."""
        return self._versions.knows(kind, name)

    def versions(self, kind: str, name: str) -> list[Version]:
        """Every version of a name, oldest first."""
        return self._versions.all(kind, name)

    def names(self, kind: str) -> list[str]:
        """Names that have versions of a kind (`dataset`, `scored`, `subset`, `signals`, `model`)."""
        return self._versions.names(kind)

    def dataset(self, reference: str) -> Dataset:
        """A data set by version (`fashion@2`) or by artifact id."""
        is_artifact = self._is_artifact(reference, "dataset")
        artifact = reference if is_artifact else self.version("dataset", reference).artifact
        return Dataset(self.files, self.record(artifact))

    def subset(self, reference: str) -> Subset:
        """The kept examples of a subset version and its synthetic rows, ready for a PyTorch DataLoader."""
        version = self.version("subset", reference)
        dataset = self.dataset(self.record(version.artifact).request.inputs["dataset"])
        rows, paths = hand_over(self, version.artifact)
        made = self.record(version.artifact).rows("synthetic")
        return Subset(version, dataset.schema.classes, rows, paths, self._schedule(version.artifact), made)

    def write_scores(self, request: Request, scores: Scores, meta: Mapping[str, Any], *, seconds: float = 0.0) -> None:
        """Publish scores as an artifact, with further meta; `seconds` is what making them took."""
        frame, described = scores_to_table(scores)
        with self.write(request) as draft:
            draft.earlier_seconds = seconds
            draft.add_table("scores", frame)
            draft.meta.update({**meta, **described})

    def scores(self, artifact_id: str, earlier: Record | None = None) -> Scores:
        """The scores of an artifact; only those in files that `earlier` scores do not list, where that is given."""
        record = self.record(artifact_id)
        if earlier is not None:
            record = replace(record, files=files_since(record, earlier, "scores"))
        return scores_from_table(self._read(record, "scores"), record.meta)

    def write_selection(
        self, request: Request, selection: Selection, meta: Mapping[str, Any], *, seconds: float = 0.0
    ) -> None:
        """Publish a selection as an artifact, with counts and further meta; `seconds` is what making it took."""
        with self.write(request) as draft:
            draft.earlier_seconds = seconds
            draft.add_table("selection", selection_to_table(selection))
            draft.meta.update({**meta, "kept": int(selection.kept.sum()), "reasons": dict(selection.counts())})
            if selection.schedule is not None:
                draft.meta["schedule"] = asdict(selection.schedule)
            if selection.synthetic is not None:
                for name, table in synthetic_to_tables(selection.synthetic).items():
                    draft.add_table(name, table)
                draft.meta["synthetic"] = {"method": selection.synthetic.method, "rows": len(selection.synthetic)}

    def selection(self, artifact_id: str) -> Selection:
        """The selection of an artifact."""
        selection = selection_from_table(self._read(self.record(artifact_id), "selection"))
        made = self._synthetic(self.record(artifact_id))
        return replace(selection, schedule=self._schedule(artifact_id), synthetic=made)

    def signals(self, artifact_ids: Sequence[str], names: Sequence[str], further: Mapping[str, Array]) -> Signals:
        """What several seeds of one learner recorded, stacked.

        Args:
            artifact_ids: trainings of one learner, one per seed.
            names: the signals wanted; those that were not recorded are left out.
            further: arrays that do not depend on the seed, such as `label`.
        """
        runs = []
        for record in map(self.record, artifact_ids):
            shapes = {name: spec for name, spec in record.meta["signals"].items() if name in names}
            frame = self._read(record, "signals", ["example_id", *shapes])
            runs.append((frame, {"signals": shapes}))
        return signals_from_tables(runs, further)

    def unrecorded(
        self, artifact_id: str, index: ExampleIndex, names: Sequence[str], earlier: Record | None = None
    ) -> dict[str, Array]:
        """Arrays of given or examined signals, in the order of an index.

        Args:
            artifact_id: of kind `signals`.
            index: the N examples wanted.
            names: the arrays wanted.
            earlier: signals that this artifact lists the files of; those files are not read.

        Returns:
            (N, ...) arrays by name.

        Raises:
            NotFoundError: an example has no such signals; the message counts them and names the first.
        """
        record = self.record(artifact_id)
        files = record.table("signals") if earlier is None else files_since(record, earlier, "signals")
        shapes = {name: record.meta["signals"][name] for name in names}
        nothing = index.ids.clear().to_frame()
        frame = self._read(replace(record, files=files), "signals", ["example_id", *shapes]) if files else nothing
        if not frame["example_id"].equals(index.ids):
            wanted = index.ids.to_frame()
            missing = wanted.join(frame, on="example_id", how="anti")["example_id"]
            if len(missing):
                raise NotFoundError(
                    f"signals {artifact_id!r} lack {len(missing)} of {len(index)} training examples (first: "
                    f"{missing[0]!r}); bring theirs with tamis ingest-signals --append"
                )
            frame = wanted.join(frame, on="example_id", how="left", maintain_order="left")
        return arrays_from_table(frame, shapes)

    def state(self, artifact_id: str) -> dict[str, Array]:
        """What a merging scorer left for further rows, by name."""
        arrays, _ = from_bytes(self.files.read(self.record(artifact_id).table("state")[0].path))
        return arrays

    def model(self, reference: str, epoch: Literal["last", "best"] = "last") -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights and card of a model; `learners.stored.load_networks` makes networks of them.

        Args:
            reference: a version such as `digits-elr@1`, or the id of a model or of a training.
            epoch: the `last` one, or the `best` one by the validation split.

        Returns:
            Arrays by name, and the card. Its `epoch` is that of the weights, and so are, for a model, its `metrics` and
            its `temperature`.

        Raises:
            NotFoundError: there is no such model, or it has no best epoch, for want of a labelled validation split.
            CorruptError: the file is not the one that was written.
        """
        is_artifact = self._is_artifact(reference, "training", "model")
        record = self.record(reference if is_artifact else self.version("model", reference).artifact)
        files = record.table("model" if epoch == "last" else "best")
        if not files:
            raise NotFoundError(f"{reference} has no model of the {epoch} epoch; see [splits] for a validation split")
        (path,) = self.files.local(files)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != files[0].sha256:
            raise CorruptError(
                f"the model {reference} cannot be read: {files[0].path} has other content than its record says; "
                "`tamis fsck` says what to do"
            )
        arrays, card = from_bytes(data)
        further = dict(record.meta) if record.kind == "model" else {}
        if further and epoch == "best":
            further |= {name: further.get(f"best_{name}") for name in ("temperature", "metrics")}
        return arrays, {**further, **card}

    def table(self, artifact_id: str, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """A table of an artifact, whole or some of its columns."""
        return self._read(self.record(artifact_id), name, None if columns is None else list(columns))

    def sql(self, query: str, limits: "Limits | None" = None) -> pl.DataFrame:
        """The answer to one SELECT over `dataset.*`, `scored.*`, `subset.*`, `quarantine.*` and `catalog.*`.

        Raises:
            QueryError: it is not one SELECT, it is wrong, it tries to leave the sandbox, or it reached a limit.
        """
        from storage.query import query as run_query

        return run_query(self.files, self.artifacts, self._versions, query, limits)

    def sql_parts(self, query: str, limits: "Limits | None" = None) -> Iterator[pl.DataFrame]:
        """The answer to one SELECT in parts with the same columns, so that it need not fit in memory."""
        from storage.query import stream

        return stream(self.files, self.artifacts, self._versions, query, limits)

    def why(self, example_id: str) -> pl.DataFrame:
        """Everything that is known of one example, a row a fact: its row, its scores, every rule that decided on it.

        Raises:
            NotFoundError: there is no such data set or example.
        """
        from storage.why import why

        return why(self.files, self.artifacts, self._versions, example_id)

    def diff(self, first: str, second: str) -> "Diff":
        """What moved between two versions of a subset or of a data set, row by row, and because of what.

        Raises:
            NotFoundError: there is no such version.
            ValueError: one is a subset and the other a data set.
        """
        from storage.diff import diff

        return diff(self.files, self.artifacts, self._versions, first, second)

    def publish_catalog(self) -> int:
        """Put a fresh `published/catalog.duckdb` for other DuckDB clients in place; the number of its views."""
        from storage.catalog_file import publish_catalog

        return publish_catalog(self.files, self.artifacts, self._versions)

    def remember(self, directory: str, key: str, value: Mapping[str, Any]) -> None:
        """Keep a small JSON note, such as the artifacts that a run ended with; the newest note wins."""
        self.files.replace(f"{check_name(directory)}/{check_name(key)}.json", sealed(value))

    def remembered(self, directory: str, key: str) -> dict[str, Any] | None:
        """A note kept by `remember`, or None."""
        try:
            return unsealed(self.files.read(f"{check_name(directory)}/{check_name(key)}.json"))
        except (FileNotFoundError, ValueError):
            return None

    def _schedule(self, selection_id: str) -> Schedule | None:
        stored = self.record(selection_id).meta.get("schedule")
        return None if stored is None else Schedule(**stored)

    def _synthetic(self, record: Record) -> SyntheticRows | None:
        if not record.table("synthetic"):
            return None
        made, features = (self._read(record, name) for name in ("synthetic", "synthetic_features"))
        return synthetic_from_tables(made, features, record.meta["synthetic"]["method"])

    def _is_artifact(self, reference: str, *kinds: str) -> bool:
        return "@" not in reference and reference.rpartition("-")[0] in kinds and self.has(reference)

    def _read(self, record: Record, table: str, columns: list[str] | None = None) -> pl.DataFrame:
        files = record.table(table)
        if not files:
            raise NotFoundError(f"artifact {record.id!r} has no table {table!r}")
        with damage_told(f"table {table!r} of artifact {record.id!r}"):
            frame = pl.read_parquet(self.files.local(files), columns=columns, glob=False)
        if columns is None:
            check_table(record.kind, table, frame.schema)
        return frame

    def __repr__(self) -> str:
        return f"Store({self.location!r})"


def _is_marked(files: Files) -> bool:
    """Whether a store is there; the mark is read, since only then an object store tells a missing bucket from it.

    Raises:
        CorruptError: a newer tamis made the store. What else may be wrong with the mark, `tamis fsck` says.
    """
    try:
        mark = json.loads(files.read(_MARK))
        version = int(mark["schema_version"])
    except FileNotFoundError:
        return False
    except (ValueError, TypeError, KeyError):
        return True
    if version > SCHEMA_VERSION:
        raise CorruptError(
            f"the store {files.location} was made by a newer tamis (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}); install that version or a newer one"
        )
    return True
