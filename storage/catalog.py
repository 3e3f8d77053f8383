"""Catalog: the store's records and versions as tables, for `catalog.*` in queries."""

import json
from collections.abc import Callable, Iterable

import polars as pl

from storage.artifacts import Record
from storage.remembered import RememberedArtifacts
from storage.versions import KINDS, Versions

_TIME = pl.Datetime("us", "UTC")


def versions_table(artifacts: RememberedArtifacts, versions: Versions) -> pl.DataFrame:
    """One row per published version, oldest first within a name."""
    rows = [
        (kind, name, one.number, str(one), one.artifact, one.created_at)
        for kind in KINDS
        for name in versions.names(kind)
        for one in versions.all(kind, name)
    ]
    columns = {"kind": pl.String, "name": pl.String, "number": pl.Int64, "version": pl.String, "artifact": pl.String}
    return _timed(pl.DataFrame(rows, {**columns, "created_at": pl.String}, orient="row"))


def artifacts_table(artifacts: RememberedArtifacts, versions: Versions) -> pl.DataFrame:
    """One row per artifact: what it is and what it cost.

    `rows` are those of its longest table; `size_bytes` are of the files it wrote, shared ones not counted.
    """
    rows = []
    for record in artifacts.records():
        tables = {file.table for file in record.files}
        own = [file for file in record.files if file.path.startswith(f"artifacts/{record.id}/")]
        rows.append(
            (
                record.id,
                record.kind,
                record.request.seed,
                record.request.revision,
                max((record.rows(table) for table in tables), default=0),
                sum(file.size_bytes for file in own),
                record.seconds,
                record.peak_memory_bytes,
                record.created_at,
                json.dumps(record.request.settings, sort_keys=True),
            )
        )
    columns = {
        "id": pl.String,
        "kind": pl.String,
        "seed": pl.Int64,
        "revision": pl.Int64,
        "rows": pl.Int64,
        "size_bytes": pl.Int64,
        "seconds": pl.Float64,
        "peak_memory_bytes": pl.Int64,
        "created_at": pl.String,
        "settings": pl.String,
    }
    return _timed(pl.DataFrame(rows, columns, orient="row"))


def lineage_table(artifacts: RememberedArtifacts, versions: Versions) -> pl.DataFrame:
    """One row per input of an artifact."""
    rows = [
        (record.id, role, source) for record in artifacts.records() for role, source in record.request.inputs.items()
    ]
    return pl.DataFrame(rows, {"artifact": pl.String, "role": pl.String, "input": pl.String}, orient="row")


def models_table(artifacts: RememberedArtifacts, versions: Versions) -> pl.DataFrame:
    """One row per published model, oldest first within a name; its metrics are those of its `evaluation`."""
    rows = []
    for name in versions.names("model"):
        for one in versions.all("model", name):
            card = artifacts.record(one.artifact).meta
            told = (card["learner"]["method"], card["model"]["method"], len(card["classes"]))
            facts = [card.get(fact) for fact in ("trained_on", "dataset", "training", "evaluation")]
            numbers = [card.get(fact) for fact in ("seed", "epoch", "best_epoch", "temperature")]
            rows.append((str(one), name, one.number, one.artifact, *told, *facts, *numbers, one.created_at))
    texts = ("trained_on", "dataset", "training", "evaluation")
    columns = {
        **{"version": pl.String, "name": pl.String, "number": pl.Int64, "artifact": pl.String},
        **{"learner": pl.String, "model": pl.String, "num_classes": pl.Int64, **dict.fromkeys(texts, pl.String)},
        **{"seed": pl.Int64, "epoch": pl.Int64, "best_epoch": pl.Int64, "temperature": pl.Float64},
    }
    return _timed(pl.DataFrame(rows, {**columns, "created_at": pl.String}, orient="row"))


def metrics_table(artifacts: RememberedArtifacts, versions: Versions) -> pl.DataFrame:
    """One row per metric: of an evaluation's learner, and of a score where the truth about labels is known.

    `arm` is the title of the comparison's arm that an evaluation belongs to, `seed` the evaluated training's. Metrics
    of the best epoch by the validation split begin with `best_`. A score's `auroc` and `precision`, of finding wrong
    labels, stand with the report.
    """
    reports = artifacts.records("report")
    arms = _arms(reports)
    rows: list[tuple[object, ...]] = []
    for record in artifacts.records("evaluation"):
        meta = record.meta
        shared = (record.id, arms.get(record.id), meta.get("learner"), meta.get("data"), None, _seed(artifacts, record))
        for prefix in ("", "best_"):
            metrics = meta.get(f"{prefix}metrics") or {}
            rows += [(*shared, prefix + name, float(value)) for name, value in metrics.items() if value is not None]
    for record in reports:
        for one in record.meta.get("detection", []):
            shared = (record.id, None, None, None, one["score"], None)
            rows += [(*shared, name, float(one[name])) for name in ("auroc", "precision") if one.get(name) is not None]
    columns = {
        "artifact": pl.String,
        "arm": pl.String,
        "learner": pl.String,
        "data": pl.String,
        "score": pl.String,
        "seed": pl.Int64,
        "metric": pl.String,
        "value": pl.Float64,
    }
    return pl.DataFrame(rows, columns, orient="row")


def _arms(reports: Iterable[Record]) -> dict[str, str]:
    """Title of the arm of each evaluation that a report compares; several reports may name it differently."""
    titles: dict[str, dict[str, None]] = {}
    for report in reports:
        arms = report.meta.get("arms", [])
        for role, artifact in report.request.inputs.items():
            kind, *place = role.split(".")
            if kind == "evaluation" and place[0].isdecimal() and int(place[0]) < len(arms):
                titles.setdefault(artifact, {})[arms[int(place[0])]["title"]] = None
    return {artifact: ", ".join(found) for artifact, found in titles.items()}


def _seed(artifacts: RememberedArtifacts, evaluation: Record) -> int | None:
    training = evaluation.request.inputs.get("training")
    if training is None or not artifacts.has(training):
        return evaluation.request.seed
    return artifacts.record(training).request.seed


TABLES: dict[str, Callable[[RememberedArtifacts, Versions], pl.DataFrame]] = {
    "versions": versions_table,
    "artifacts": artifacts_table,
    "lineage": lineage_table,
    "models": models_table,
    "metrics": metrics_table,
}
"""What makes each table of `catalog`."""


def _timed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("created_at").str.to_datetime(time_zone="UTC", time_unit="us").cast(_TIME))
