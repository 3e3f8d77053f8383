"""Catalog: the store's records and versions as tables, for `catalog.*` in queries."""

import json
from collections.abc import Callable

import polars as pl

from storage.artifacts import Artifacts
from storage.versions import KINDS, Versions

_TIME = pl.Datetime("us", "UTC")


def versions_table(artifacts: Artifacts, versions: Versions) -> pl.DataFrame:
    """One row per published version, oldest first within a name."""
    rows = [
        (kind, name, one.number, str(one), one.artifact, one.created_at)
        for kind in KINDS
        for name in versions.names(kind)
        for one in versions.all(kind, name)
    ]
    columns = {"kind": pl.String, "name": pl.String, "number": pl.Int64, "version": pl.String, "artifact": pl.String}
    return _timed(pl.DataFrame(rows, {**columns, "created_at": pl.String}, orient="row"))


def artifacts_table(artifacts: Artifacts, versions: Versions) -> pl.DataFrame:
    """One row per artifact: what it is and what it cost.

    `rows` are those of its longest table; `size_bytes` are of the files it wrote, shared ones not counted.
    """
    rows = []
    for record in map(artifacts.record, artifacts.ids()):
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


def lineage_table(artifacts: Artifacts, versions: Versions) -> pl.DataFrame:
    """One row per input of an artifact."""
    rows = [
        (record.id, role, source)
        for record in map(artifacts.record, artifacts.ids())
        for role, source in record.request.inputs.items()
    ]
    return pl.DataFrame(rows, {"artifact": pl.String, "role": pl.String, "input": pl.String}, orient="row")


def metrics_table(artifacts: Artifacts, versions: Versions) -> pl.DataFrame:
    """One row per metric of an evaluation; `seed` is the evaluated training's where the evaluation has none."""
    rows = []
    for record in map(artifacts.record, artifacts.ids()):
        if record.kind != "evaluation":
            continue
        seed = record.request.seed
        training = record.request.inputs.get("training")
        if seed is None and training is not None and artifacts.has(training):
            seed = artifacts.record(training).request.seed
        meta = record.meta
        shared = (record.id, meta.get("arm"), meta.get("learner"), meta.get("data"), seed)
        rows += [(*shared, name, float(value)) for name, value in meta.get("metrics", {}).items() if value is not None]
    columns = {
        "artifact": pl.String,
        "arm": pl.String,
        "learner": pl.String,
        "data": pl.String,
        "seed": pl.Int64,
        "metric": pl.String,
        "value": pl.Float64,
    }
    return pl.DataFrame(rows, columns, orient="row")


TABLES: dict[str, Callable[[Artifacts, Versions], pl.DataFrame]] = {
    "versions": versions_table,
    "artifacts": artifacts_table,
    "lineage": lineage_table,
    "metrics": metrics_table,
}
"""What makes each table of `catalog`."""


def _timed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("created_at").str.to_datetime(time_zone="UTC", time_unit="us").cast(_TIME))
