"""Why: all that the store knows of one example, fact by fact: its row, its scores, every rule that decided on it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from storage.artifacts import Artifacts, File, Record
from storage.damage import damage_told
from storage.errors import CorruptError, NotFoundError
from storage.files import Files
from storage.lineage import ancestry
from storage.schemas import DatasetSchema
from storage.versions import Version, Versions

COLUMNS = {
    "kind": pl.String,
    "version": pl.String,
    "name": pl.String,
    "value": pl.Float64,
    "rank": pl.Int64,
    "percentile": pl.Float64,
    "text": pl.String,
}
"""Columns of the answer.

`kind` is `example` (a fact of the row), `score`, `detail` (what stands beside a score), `subset` (what a
subset decided), `rule`, `setting` (of the rule) or `read` (a score that the rule read).
`rank` is 1 for the highest value, equal values share the best of their ranks; `percentile` is the share of
scored examples, in per cent, whose value is at most this one.
"""

_OWN = ("split", "label", "clean_label", "group")
_GONE = "absent"
Fact = dict[str, Any]


@damage_told("a file behind this example")
def why(files: Files, artifacts: Artifacts, versions: Versions, example_id: str) -> pl.DataFrame:
    """What decided on one example.

    Args:
        files: bytes of the store.
        artifacts: its artifacts.
        versions: its versions.
        example_id: such as `digits:17`.

    Returns:
        One row a fact, with `COLUMNS`: the example's row in the newest version of its data set (and what
        earlier versions had instead), its scores in the newest scored version, and its fate in every version of
        every subset over the data set or one that it was made from. The same for data sets of other names that
        were made from this one and still have the example, such as one with labels planted wrong. A synthetic row
        has, instead, its parents, its gap and its features, and its fate in the subsets that hold it.

    Raises:
        ValueError: the id has no data set in front of its key.
        NotFoundError: there is no such data set, or no version of it has the example.
        CorruptError: a file of the store is missing or damaged.
    """
    name, colon, _ = example_id.partition(":")
    if not colon:
        raise ValueError(f"{example_id!r} is not an example's id: write <data set>:<key>, such as digits:17")
    versions.find("dataset", name)
    reader = _Reader(files, artifacts, example_id)
    facts = list(_example_facts(reader, versions.all("dataset", name)))
    families = _families(artifacts, versions, name)
    family = set().union(*families.values())
    if all(fact["name"] == _GONE for fact in facts):
        facts = _synthetic_facts(reader, versions, family)
        if not facts:
            raise NotFoundError(f"data set {name!r} has no example {example_id!r}")
    for derived in families.keys() - {name}:
        facts += (fact for fact in _example_facts(reader, versions.all("dataset", derived)) if fact["name"] != _GONE)
    scored = versions.names("scored")
    for one in families:
        if one in scored:
            facts += _score_facts(reader, versions.find("scored", one))
    for subset in versions.names("subset"):
        for version in versions.all("subset", subset):
            facts += _subset_facts(reader, version, family)
    return pl.DataFrame(facts, COLUMNS, orient="row")


class _Reader:
    """Reads one example's rows; every file is searched once, every score ranked once."""

    def __init__(self, files: Files, artifacts: Artifacts, example_id: str) -> None:
        self.artifacts = artifacts
        self.example_id = example_id
        self._files = files
        self._found: dict[tuple[str, ...], dict[str, Any] | None] = {}
        self._placed: dict[str, Fact] = {}

    def scan(self, files: tuple[File, ...]) -> pl.LazyFrame:
        """A table of an artifact."""
        return pl.scan_parquet(self._files.local(files), glob=False)

    def row(self, files: tuple[File, ...], *, only: tuple[str, ...] | None = None) -> dict[str, Any] | None:
        """The example's row in a table, or None; `only` names the columns wanted, of those there are."""
        key = tuple(file.path for file in files)
        if key not in self._found:
            try:
                table = self.scan(files)
                if only is not None:
                    table = table.select(one for one in table.collect_schema().names() if one in only)
                rows = table.filter(pl.col("example_id") == self.example_id).collect()
            except (FileNotFoundError, pl.exceptions.ComputeError) as error:
                raise CorruptError(f"{files[0].path!r} cannot be read: {error}") from error
            self._found[key] = rows.row(0, named=True) if len(rows) else None
        return self._found[key]

    def example(self, record: Record) -> dict[str, Any] | None:
        """The example's own columns in a data set, its label layer laid over them, or None."""
        own = self.row(record.table("examples"), only=("example_id", *_OWN))
        layer = record.table("labels")
        laid = self.row(layer) if own is not None and layer else None
        return None if own is None else {**own, **(laid or {})}

    def children(self, made: tuple[File, ...]) -> int:
        """How many synthetic rows have the example among their parents."""
        mine = pl.col("voters").list.contains(self.example_id)
        for parent in ("parent_a", "parent_b"):
            mine |= pl.col(parent) == self.example_id
        return len(self.scan(made).filter(mine).select("example_id").collect())

    def placed(self, scores: Record) -> Fact | None:
        """Value, rank and percentile of the example in a score, or None where it has none."""
        row = self.row(scores.table("scores"))
        if row is None:
            return None
        if scores.id not in self._placed:
            value = pl.col("value")
            higher, at_most, number = (
                self.scan(scores.table("scores"))
                .select((value > row["value"]).sum().alias("a"), (value <= row["value"]).sum().alias("b"), pl.len())
                .collect()
                .row(0)
            )
            placed = {"value": row["value"], "rank": higher + 1, "percentile": 100 * at_most / number}
            self._placed[scores.id] = placed
        return self._placed[scores.id]


def _fact(kind: str, version: Version, name: str, value: object = None, text: str | None = None) -> Fact:
    """One row of the answer: a number stands in `value`, anything else in `text`."""
    empty: Fact = dict.fromkeys(COLUMNS)
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if text is None and value is not None and number is None:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    return {**empty, "kind": kind, "version": str(version), "name": name, "value": number, "text": text}


def _example_facts(reader: _Reader, versions: list[Version]) -> Iterator[Fact]:
    """The newest row whole, then what earlier versions had instead, newest first."""
    shown: dict[str, Any] | None = None
    for version in reversed(versions):
        row = reader.example(reader.artifacts.record(version.artifact))
        if row is None:
            if shown is None and version is versions[-1]:
                yield _fact("example", version, _GONE, text="the newest version does not have this example")
            continue
        for name in (*filter(row.__contains__, _OWN), *(one for one in row if one not in ("example_id", *_OWN))):
            value = row[name]
            if shown is None or shown.get(name) != value:
                yield _fact("example", version, name, text=None if value is None else str(value))
        shown = row


def _synthetic_facts(reader: _Reader, versions: Versions, family: set[str]) -> list[Fact]:
    """What a synthetic row was made of and is, in the last subset version found that holds it; else nothing."""
    facts: list[Fact] = []
    for version in (one for name in versions.names("subset") for one in versions.all("subset", name)):
        record = reader.artifacts.record(version.artifact)
        made = record.table("synthetic")
        dataset = record.request.inputs.get("dataset")
        row = reader.row(made) if made and dataset in family else None
        if row is None or dataset is None:
            continue
        schema = _schema(reader, dataset)
        told: Fact = {"split": "train", "label": schema.classes[row["label"]]}
        told |= {} if row["group"] is None else {"group": schema.groups[row["group"]]}
        told |= {"made by": record.meta["synthetic"]["method"], "parent_a": row["parent_a"]}
        told |= {"parent_b": row["parent_b"], "gap": row["gap"]}
        told |= {"voters": ", ".join(row["voters"])} if row["voters"] else {}
        features = reader.row(record.table("synthetic_features")) or {}
        told |= {name: value for name, value in features.items() if name != "example_id"}
        facts = [_fact("example", version, name, text=str(value)) for name, value in told.items()]
    return facts


def _score_facts(reader: _Reader, version: Version) -> Iterator[Fact]:
    scored = reader.artifacts.record(version.artifact)
    classes = _classes(reader, scored.meta["dataset"])
    for name, artifact in scored.meta["columns"].items():
        record = reader.artifacts.record(artifact)
        placed = reader.placed(record)
        if placed is None:
            continue
        text = f"high means {record.meta['high_means']}; rank 1 is the highest of {record.rows('scores')}"
        yield {**_fact("score", version, name, text=text), **placed}
        if record.table("frozen") and reader.row(record.table("frozen")) is not None:
            stored = ", ".join(record.meta["frozen"]["stored"])
            yield _fact("detail", version, f"{name}_frozen", text=f"computed by the stored model of {stored}")
        row = reader.row(record.table("scores")) or {}
        for column, value in row.items():
            if column == "standard_error" and value is not None:
                yield _fact("detail", version, f"{name}_se", value, "standard error over seeds")
            elif column not in ("example_id", "value", "standard_error"):
                text_of = classes[value] if column == "suggested_label" and value is not None else None
                yield _fact("detail", version, f"{name}_{column}", value, text_of)


def _subset_facts(reader: _Reader, version: Version, family: set[str]) -> Iterator[Fact]:
    """Weight, reason, new label, the rule, its settings and the scores it read; nothing for other examples."""
    record = reader.artifacts.record(version.artifact)
    dataset = record.request.inputs.get("dataset")
    if dataset not in family:
        return
    made = record.table("synthetic")
    row = reader.row(record.table("selection")) or (reader.row(made) if made else None)
    if row is None:
        return
    yield _fact("subset", version, "weight", row["weight"], row["reason"])
    if made and (children := reader.children(made)):
        yield _fact("subset", version, "children", children, "synthetic rows made from it")
    if row["label"] is not None and "parent_a" not in row:
        given = (reader.example(reader.artifacts.record(dataset)) or {}).get("label")
        corrected = _classes(reader, dataset)[row["label"]]
        if corrected != str(given):
            yield _fact("subset", version, "new_label", row["label"], corrected)
    settings = record.request.settings
    rule = settings.get("selector", settings.get("rebalancer"))
    if isinstance(rule, Mapping):
        yield _fact("rule", version, "method", text=str(rule.get("method")))
        for name, value in rule.items():
            if name != "method" and value is not None:
                yield _fact("setting", version, name, value)
    yield from _read_facts(reader, version, record)


def _read_facts(reader: _Reader, version: Version, record: Record) -> Iterator[Fact]:
    """The scores that a selection read, beside those of the examples it kept."""
    for role, artifact in record.request.inputs.items():
        if not role.startswith("score."):
            continue
        scores = reader.artifacts.record(artifact)
        placed = reader.placed(scores)
        if placed is None:
            continue
        kept = reader.scan(record.table("selection")).filter(pl.col("weight") > 0).select("example_id")
        values = reader.scan(scores.table("scores")).join(kept, on="example_id", how="semi")
        low, high = values.select(pl.col("value").min().alias("a"), pl.col("value").max().alias("b")).collect().row(0)
        text = f"examples kept have {low:.6g} to {high:.6g}; high means {scores.meta['high_means']}"
        yield {**_fact("read", version, role.removeprefix("score."), text=text), **placed}


def _families(artifacts: Artifacts, versions: Versions, name: str) -> dict[str, set[str]]:
    """The family of this data set, and, by name, those of the data sets that were made from a version of it."""
    own = {version.artifact for version in versions.all("dataset", name)}
    found = {name: _family(artifacts, versions.all("dataset", name))}
    for other in versions.names("dataset"):
        family = found.get(other) or _family(artifacts, versions.all("dataset", other))
        if family & own:
            found[other] = family
    return found


def _family(artifacts: Artifacts, versions: list[Version]) -> set[str]:
    """Ids of the data set's versions and of the data sets that they were made from."""
    found: set[str] = set()
    for version in versions:
        if version.artifact not in found:
            found |= {record.id for record in ancestry(artifacts, version.artifact) if record.kind == "dataset"}
    return found


def _classes(reader: _Reader, dataset: str) -> tuple[str, ...]:
    return _schema(reader, dataset).classes


def _schema(reader: _Reader, dataset: str) -> DatasetSchema:
    return DatasetSchema.from_json(reader.artifacts.record(dataset).meta["schema"])
