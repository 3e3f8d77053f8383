"""Small sources and their ingest, for the tests of ingest."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from storage.artifacts import Artifacts, Request
from storage.contract import Contract
from storage.files import Files
from storage.ingest.source import Source
from storage.ingest.write import IngestReport, ingest_examples
from storage.schemas import DatasetSchema, Roles
from storage.splits import SplitFractions

XY = Roles(features=("x",), label="y")


@dataclass(frozen=True, kw_only=True)
class Ingested:
    examples: pl.DataFrame
    quarantine: pl.DataFrame
    counts: dict[str, Any]
    schema: DatasetSchema
    reports: list[IngestReport]

    def bad(self) -> list[tuple[int, str]]:
        return self.quarantine.select("source_row", "rule").sort("source_row").rows()

    def bad_rows(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.quarantine.sort("source_row")["row"]]


def ingest(
    root: Path,
    location: Path | str,
    roles: Roles = XY,
    contract: Contract | None = None,
    splits: SplitFractions | None = None,
    seed: int = 0,
    name: str = "toys",
) -> Ingested:
    return ingest_source(root, Source(location=str(location)), roles, contract, splits, seed, name)


def ingest_source(
    root: Path,
    source: Source,
    roles: Roles = XY,
    contract: Contract | None = None,
    splits: SplitFractions | None = None,
    seed: int = 0,
    name: str = "toys",
) -> Ingested:
    files = Files(root / "store")
    artifacts = Artifacts(files)
    request = Request(kind="dataset", settings={"run": len(artifacts.ids())})
    with artifacts.write(request) as draft:
        reports = list(
            ingest_examples(
                draft,
                name=name,
                source=source,
                roles=roles,
                splits=splits or SplitFractions(),
                contract=contract or Contract(),
                seed=seed,
            )
        )
    record = artifacts.record(request.id)
    tables = {
        table: pl.concat([pl.read_parquet(files.locate(file.path)) for file in record.table(table)])
        if record.table(table)
        else pl.DataFrame(schema={"source_row": pl.Int64, "rule": pl.String, "row": pl.String})
        for table in ("examples", "quarantine")
    }
    counts = record.meta["counts"]
    assert counts["read"] == counts["kept"] + counts["quarantined"]
    assert counts["kept"] == len(tables["examples"]) == sum(counts["by_split"].values())
    assert counts["quarantined"] == len(tables["quarantine"]) == sum(counts["by_rule"].values())
    assert tables["examples"]["example_id"].is_unique().all()
    schema = DatasetSchema.from_json(record.meta["schema"])
    return Ingested(
        examples=tables["examples"],
        quarantine=tables["quarantine"],
        counts=counts,
        schema=schema,
        reports=reports,
    )


def csv_file(root: Path, text: str | bytes, name: str = "toys.csv") -> Path:
    path = root / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def parquet_file(root: Path, frame: pl.DataFrame, name: str = "toys.parquet") -> Path:
    path = root / name
    frame.write_parquet(path, row_group_size=3)
    return path
