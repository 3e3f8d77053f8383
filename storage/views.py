"""Views: the SQL by which `dataset.*`, `scored.*`, `subset.*` and `quarantine.*` read the Parquet files.

A view joins one leading table with tables that have at most one row per example, so a joined
table of which a query reads no column is left out, and costs nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from storage.artifacts import Artifacts, Record
from storage.errors import CorruptError, NotFoundError, QueryError
from storage.files import Files
from storage.schemas import DatasetSchema
from storage.versions import Version, Versions

SCHEMAS = ("dataset", "scored", "subset", "quarantine")
"""The first halves of the names of views over an artifact's files."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One table of an artifact, under a short name in the SQL of a view."""

    alias: str
    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    unites: bool = False
    """Whether the files have different columns; a column that a file lacks is NULL in its rows."""

    @property
    def sql(self) -> str:
        """The table as an element of FROM."""
        files = ", ".join(quoted_text(str(path)) for path in self.paths)
        return f"read_parquet([{files}]{', union_by_name = true' if self.unites else ''}) AS {self.alias}"

    def column(self, name: str) -> str:
        """A column of the table as an expression."""
        return f"{self.alias}.{quoted_name(name)}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a view."""

    name: str
    sql: str
    reads: tuple[str, ...]
    """Aliases of the parts that the expression reads."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One view over Parquet files."""

    schema: str
    name: str
    first: Part
    """The leading table: the view has its rows."""
    others: tuple[Part, ...] = ()
    """Tables joined by `example_id`, each with at most one row per example."""
    columns: tuple[Column, ...] = field(default=())

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for column in self.columns:
            other = seen.setdefault(column.name.casefold(), column.name)
            if other is not column.name:
                raise QueryError(
                    f"{self.schema}.{self.name} would have the columns {other!r} and {column.name!r}, which SQL "
                    "cannot tell apart; rename one of them in the source or the recipe"
                )

    @property
    def paths(self) -> list[str]:
        """Every file that the view may read."""
        return [str(path) for part in (self.first, *self.others) for path in part.paths]

    def sql(self, wanted: Collection[str] | None) -> str:
        """The statement that makes the view.

        Args:
            wanted: case-folded names; a column that only a joined table has is left out unless it is
                among them. None keeps all.
        """
        kept = [
            column
            for column in self.columns
            if wanted is None or set(column.reads) == {self.first.alias} or column.name.casefold() in wanted
        ]
        read = {alias for column in kept for alias in column.reads}
        joins = "".join(
            f" LEFT JOIN {part.sql} ON {part.column('example_id')} = {self.first.column('example_id')}"
            for part in self.others
            if part.alias in read
        )
        selected = ", ".join(f"{column.sql} AS {quoted_name(column.name)}" for column in kept)
        name = f"{self.schema}.{quoted_name(self.name)}"
        return f"CREATE OR REPLACE VIEW {name} AS SELECT {selected} FROM {self.first.sql}{joins}"


class Views:
    """Makes the view that a qualified name stands for."""

    def __init__(self, files: Files, artifacts: Artifacts, versions: Versions) -> None:
        """Read one store."""
        self._files = files
        self._artifacts = artifacts
        self._versions = versions
        self._columns: dict[Path, tuple[str, ...]] = {}

    def find(self, schema: str, reference: str) -> View | None:
        """The view `schema.reference`, or None for an empty quarantine.

        Raises:
            NotFoundError: there is no such name or version; the message lists those that exist.
        """
        makers: dict[str, Callable[[str, Record], View | None]] = {
            "dataset": self._dataset,
            "scored": self._scored,
            "subset": self._subset,
            "quarantine": self._quarantine,
        }
        return makers[schema](reference, self._artifacts.record(self._version(schema, reference).artifact))

    def known(self) -> list[str]:
        """Every name that FROM may use, without the numbered versions."""
        return [f"{schema}.{_as_written(name)}" for schema in SCHEMAS for name in self._versions.names(_kind(schema))]

    def _version(self, schema: str, reference: str) -> Version:
        kind = _kind(schema)
        name = reference.partition("@")[0]
        if self._versions.knows(kind, name):
            try:
                return self._versions.find(kind, reference)
            except ValueError as error:
                raise NotFoundError(f"{schema}.{quoted_name(reference)} does not exist: {error}") from None
        if schema == "scored" and name in self._versions.names("dataset"):
            raise NotFoundError(
                f"data set {name!r} has no scores yet, so there is no scored.{_as_written(name)}; "
                "`tamis run` with a recipe that has [scorers] makes them"
            )
        known = ", ".join(f"{schema}.{_as_written(one)}" for one in self._versions.names(kind)) or "none yet"
        raise NotFoundError(f"there is no {schema}.{_as_written(name)}; of {schema} the store has {known}")

    def _part(self, alias: str, record: Record, table: str) -> Part:
        paths = tuple(self._files.local(record.table(table)))
        if not paths:
            raise CorruptError(f"artifact {record.id!r} has no table {table!r}")
        if paths[0] not in self._columns:
            try:
                with paths[0].open("rb") as stream:
                    self._columns[paths[0]] = tuple(pl.read_parquet_schema(stream))
            except pl.exceptions.ComputeError as error:
                raise CorruptError(f"table {table!r} of artifact {record.id!r} cannot be read: {error}") from error
        return Part(alias=alias, paths=paths, columns=self._columns[paths[0]])

    def _labelled(self, record: Record) -> tuple[Part, list[Part], list[Column]]:
        """Examples with the label layer over them: leading part, joined parts, all columns."""
        examples = self._part("e", record, "examples")
        if not record.table("labels"):
            return examples, [], _columns_of(examples)
        layer = self._part("l", record, "labels")
        laid = {column.name: column for column in _columns_of(layer) if column.name != "example_id"}
        columns = [laid.pop(column.name, column) for column in _columns_of(examples)]
        return examples, [layer], [*columns, *laid.values()]

    def _dataset(self, reference: str, record: Record) -> View:
        examples, layers, columns = self._labelled(record)
        return View(schema="dataset", name=reference, first=examples, others=tuple(layers), columns=tuple(columns))

    def _scored(self, reference: str, record: Record) -> View:
        return self.scored(reference, self._artifacts.record(record.meta["dataset"]), record.meta["columns"])

    def scored(self, reference: str, dataset: Record, scorings: Mapping[str, str]) -> View:
        """The view of a data set beside some scores of it, given as ids by the name of their column."""
        schema = DatasetSchema.from_json(dataset.meta["schema"])
        examples, others, columns = self._labelled(dataset)
        shown = ("example_id", "split", "label", "clean_label", "group", *schema.metadata)
        chosen = _chosen(columns, shown)
        for number, (name, artifact) in enumerate(scorings.items()):
            scores = self._artifacts.record(artifact)
            part = self._part(f"s{number}", scores, "scores")
            others.append(part)
            has_error = bool(scores.meta.get("has_standard_error"))
            chosen += _score_columns(part, name, schema, has_error=has_error)
            if scores.table("frozen"):
                frozen = self._part(f"f{number}", scores, "frozen")
                others.append(frozen)
                chosen.append(_frozen_column(part, frozen, name))
        return View(schema="scored", name=reference, first=examples, others=tuple(others), columns=tuple(chosen))

    def _subset(self, reference: str, record: Record) -> View:
        dataset = self._artifacts.record(record.request.inputs["dataset"])
        schema = DatasetSchema.from_json(dataset.meta["schema"])
        examples, layers, columns = self._labelled(dataset)
        selection = self._part("s", record, "selection")
        made: list[Column] = []
        if record.table("synthetic"):
            rows = self._part("s", record, "synthetic")
            selection = replace(selection, paths=selection.paths + rows.paths, columns=rows.columns, unites=True)
            columns, made = _with_synthetic(columns, schema), _parent_columns(selection)
        own = [one for one in _columns_of(selection) if one.name in ("example_id", "weight", "reason")]
        return View(
            schema="subset",
            name=reference,
            first=selection,
            others=(examples, *layers),
            columns=(
                *own,
                *_chosen(columns, ("label",)),
                *_relabelling(columns, schema.classes),
                *_chosen(columns, ("split", "clean_label", "group")),
                *made,
            ),
        )

    def _quarantine(self, reference: str, record: Record) -> View | None:
        if not record.table("quarantine"):
            return None
        rows = self._part("q", record, "quarantine")
        return View(schema="quarantine", name=reference, first=rows, columns=tuple(_columns_of(rows)))


def empty_quarantine(name: str) -> str:
    """The statement that makes a quarantine view without rows."""
    columns = "NULL::BIGINT AS source_row, NULL::VARCHAR AS rule, NULL::VARCHAR AS row"
    return f"CREATE OR REPLACE VIEW quarantine.{quoted_name(name)} AS SELECT {columns} WHERE false"


def quoted_name(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """An SQL string."""
    return "'" + text.replace("'", "''") + "'"


def _as_written(name: str) -> str:
    """A name as a user writes it in a query: in double quotes where it needs them."""
    return name if name.isidentifier() else quoted_name(name)


def _kind(schema: str) -> str:
    return "dataset" if schema == "quarantine" else schema


def _columns_of(part: Part) -> list[Column]:
    return [Column(name=name, sql=part.column(name), reads=(part.alias,)) for name in part.columns]


def _chosen(columns: Iterable[Column], names: Sequence[str]) -> list[Column]:
    """The columns of these names that there are, in the order of the names."""
    by_name = {column.name: column for column in columns}
    return [by_name[name] for name in names if name in by_name]


def _score_columns(part: Part, name: str, schema: DatasetSchema, *, has_error: bool) -> list[Column]:
    """A scorer's value as `name`, its standard error as `name_se`, each further column as `name_column`.

    A suggested label is shown as the class itself, a whole number where every class is written as one.
    """
    names = {"value": name}
    if has_error:
        names["standard_error"] = f"{name}_se"
    names |= {one: f"{name}_{one}" for one in part.columns if one not in ("example_id", "value", "standard_error")}
    sql = {one: part.column(one) for one in names}
    if "suggested_label" in sql and schema.classes:
        sql["suggested_label"] = _class_at(sql["suggested_label"], schema.classes)
        if schema.has_whole_classes:
            sql["suggested_label"] = f"CAST({sql['suggested_label']} AS BIGINT)"
    return [Column(name=shown, sql=sql[one], reads=(part.alias,)) for one, shown in names.items()]


def _class_at(position: str, classes: Sequence[str]) -> str:
    """The class at a position, as an expression."""
    return f"list_extract([{', '.join(map(quoted_text, classes))}], {position} + 1)"


def _frozen_column(scores: Part, frozen: Part, name: str) -> Column:
    """`name_frozen`: whether a score is of a stored model that was not trained on the row; NULL without a score."""
    listed = f"{frozen.column('example_id')} IS NOT NULL"
    sql = f"CASE WHEN {scores.column('value')} IS NOT NULL THEN {listed} END"
    return Column(name=f"{name}_frozen", sql=sql, reads=(scores.alias, frozen.alias))


def _with_synthetic(columns: Iterable[Column], schema: DatasetSchema) -> list[Column]:
    """Columns of examples that, in rows of `s` that are synthetic, have what these were made with."""
    label = _class_at("s.label", schema.classes)
    values = {
        "label": f"CAST({label} AS BIGINT)" if schema.has_whole_classes else label,
        "split": quoted_text("train"),
        "group": _class_at('s."group"', schema.groups),
    }
    return [
        replace(
            one, sql=f"CASE WHEN s.parent_a IS NULL THEN {one.sql} ELSE {values[one.name]} END", reads=("s", *one.reads)
        )
        if one.name in values
        else one
        for one in columns
    ]


def _parent_columns(selection: Part) -> list[Column]:
    """`synthetic`, whether rebalancing made the row, and of what."""
    parents = [one for one in _columns_of(selection) if one.name in ("parent_a", "parent_b", "gap", "voters")]
    return [Column(name="synthetic", sql="(s.parent_a IS NOT NULL)", reads=("s",)), *parents]


def _relabelling(columns: Iterable[Column], classes: Sequence[str]) -> list[Column]:
    """`new_label`, the corrected class or NULL, and `relabelled`, whether it differs from the given one."""
    given = next((column for column in columns if column.name == "label"), None)
    if given is None or not classes:
        return []
    corrected = _class_at("s.label", classes)
    changed = f"(s.label IS NOT NULL AND {corrected} IS DISTINCT FROM CAST({given.sql} AS VARCHAR))"
    reads = ("s", *given.reads)
    return [
        Column(name="new_label", sql=f"CASE WHEN {changed} THEN {corrected} END", reads=reads),
        Column(name="relabelled", sql=changed, reads=reads),
    ]
