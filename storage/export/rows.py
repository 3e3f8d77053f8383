"""The rows of a version as an export sees them: blocks with the same columns, and a card that says where they are from.

A block has at most `ROWS_AT_A_TIME` examples; beside it memory holds what is joined to it by id, which is narrow:
ids, weights, reasons, labels and scores of the whole version.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from storage.artifacts import canonical_json
from storage.dataset import Dataset
from storage.schemas import DatasetSchema
from storage.store import Store
from storage.versions import Version

ROWS_AT_A_TIME = 8192
"""Examples of a block, at most."""
_OWN_PREFIX = "tamis_"


@dataclass(frozen=True, kw_only=True)
class ExportRows:
    """Rows to be written, in one go."""

    schema: Mapping[str, pl.DataType]
    """Columns of every block."""
    dataset: DatasetSchema
    """What the columns of the data set mean."""
    label: str | None
    """Column with the class to train on; None for a pool without labels."""
    card: Mapping[str, Any]
    """Where the rows are from, as JSON values."""
    blocks: Callable[[], Iterator[pl.DataFrame]]
    """Begins a pass over the rows."""

    @property
    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Height, width (and channels) of each image column."""
        return {one.name: one.shape for one in self.dataset.features if one.kind == "image"}


def export_rows(store: Store, version: Version, *, dropped_too: bool = False) -> ExportRows:
    """The rows of a version.

    A subset gives the kept rows: those of its data set with `weight`, `reason`, and where it corrects labels,
    `given_label` beside the corrected `label`; and where it has synthetic rows these, behind all others, marked by
    `synthetic` and with `parent_a`, `parent_b` and `gap`. A scored version gives all rows of the data set with its
    scores, which have the names and values of the view `scored.<name>`. A column of ours that the data set has too is
    called `tamis_...`.

    Args:
        store: where the version is.
        version: of a subset, a data set or scores.
        dropped_too: for a subset, also rows of weight 0.

    Raises:
        ValueError: `dropped_too` is asked of something that drops nothing.
    """
    if dropped_too and version.kind != "subset":
        raise ValueError(f"{version} is a {version.kind}, which drops no rows; leave out --all")
    record = store.record(version.artifact)
    beside: pl.DataFrame | None
    if version.kind == "subset":
        source = store.dataset(record.request.inputs["dataset"])
        beside = _selected(store, version.artifact, source)
    elif version.kind == "scored":
        source = store.dataset(record.meta["dataset"])
        beside = _scored(store, record.meta["columns"], source)
    else:
        source, beside = store.dataset(version.artifact), None
    wanted = pl.lit(True)
    if version.kind == "subset":
        weight = pl.col(_own("weight", source))
        wanted = weight.is_not_null() if dropped_too else weight > 0

    empty = _empty(source, beside)
    made = None
    if version.kind == "subset" and record.table("synthetic"):
        empty = _with_parents(empty, source)
        made = _synthetic(store, version.artifact, source, empty)

    def blocks() -> Iterator[pl.DataFrame]:
        for block in _blocks(source, beside):
            if len(found := block.filter(wanted)):
                yield found if made is None else _with_parents(found, source)
        if made is not None:
            yield from made.iter_slices(ROWS_AT_A_TIME)

    return ExportRows(
        schema=empty.schema,
        dataset=source.schema,
        label="label" if source.schema.classes else None,
        card=_card(version, source),
        blocks=blocks,
    )


def _card(version: Version, source: Dataset) -> dict[str, Any]:
    recipe = None if version.recipe is None else canonical_json(version.recipe)
    return {
        "version": str(version),
        "kind": version.kind,
        "artifact": version.artifact,
        "dataset": source.id,
        "recipe_sha256": None if recipe is None else hashlib.sha256(recipe.encode()).hexdigest(),
        "classes": list(source.schema.classes),
        "image_shapes": {one.name: list(one.shape) for one in source.schema.features if one.kind == "image"},
        "features": [one.name for one in source.schema.features],
        "tamis": metadata.version("tamis"),
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _own(name: str, source: Dataset) -> str:
    """The name of a column of ours beside those of a data set."""
    return f"{_OWN_PREFIX}{name}" if name in source.scan().collect_schema() else name


def _selected(store: Store, selection_id: str, source: Dataset) -> pl.DataFrame:
    """By id: weight, reason and, where labels were corrected, `label` as it is now."""
    table = store.table(selection_id, "selection")
    columns = [
        pl.col("example_id"),
        pl.col("weight").alias(_own("weight", source)),
        pl.col("reason").alias(_own("reason", source)),
    ]
    if table["label"].null_count() < len(table):
        names = dict(enumerate(source.schema.classes))
        kept = source.scan().collect_schema()["label"]
        corrected = pl.col("label").replace_strict(names, default=None, return_dtype=pl.String)
        columns.append((corrected.cast(kept) if kept.is_numeric() else corrected).alias("_corrected"))
    return table.select(columns)


def _with_parents(block: pl.DataFrame, source: Dataset) -> pl.DataFrame:
    """A block of examples as it stands beside synthetic rows: numbers as float64, and not synthetic itself."""
    numbers = [one.name for one in source.schema.features if one.kind == "number"]
    nothing = {"parent_a": pl.String, "parent_b": pl.String, "gap": pl.Float64}
    return block.with_columns(
        pl.col(numbers).cast(pl.Float64),
        pl.lit(value=False).alias(_own("synthetic", source)),
        *(pl.lit(None, dtype=dtype).alias(_own(name, source)) for name, dtype in nothing.items()),
    )


def _synthetic(store: Store, selection_id: str, source: Dataset, empty: pl.DataFrame) -> pl.DataFrame:
    """The synthetic rows of a selection with the columns of a block; what only examples have is null."""
    made = store.table(selection_id, "synthetic")
    names = pl.Series(source.schema.classes, dtype=pl.String), pl.Series(source.schema.groups, dtype=pl.String)
    own = ("weight", "reason", "parent_a", "parent_b", "gap")
    rows = store.table(selection_id, "synthetic_features").with_columns(
        *(made[name].alias(_own(name, source)) for name in own),
        pl.lit("train").alias("split"),
        names[0].gather(made["label"]).cast(empty.schema["label"]).alias("label"),
        pl.lit(value=True).alias(_own("synthetic", source)),
        *([names[1].gather(made["group"]).alias("group")] if len(names[1]) else []),
    )
    return pl.concat([empty, rows], how="diagonal_relaxed").select(
        pl.col(name).cast(dtype) for name, dtype in empty.schema.items()
    )


def _scored(store: Store, columns: Mapping[str, str], source: Dataset) -> pl.DataFrame | None:
    """By id, as the view `scored.<name>` has them: each score and its further columns."""
    joined: pl.DataFrame | None = None
    for name, artifact in columns.items():
        table = _score_columns(store, artifact, source.schema)
        endings = {"value": "", "standard_error": "_se"}
        further = [one for one in table.columns if one != "example_id"]
        table = table.rename({one: _own(name + endings.get(one, f"_{one}"), source) for one in further})
        joined = table if joined is None else joined.join(table, on="example_id", how="full", coalesce=True)
    return joined


def _score_columns(store: Store, artifact: str, schema: DatasetSchema) -> pl.DataFrame:
    """Scores with their standard error where they have one, suggested labels as classes, and `frozen`.

    A suggested label is a whole number where every class is written as one. `frozen` is there where some score is of
    a stored model that was not trained on the row.
    """
    record = store.record(artifact)
    table = store.table(artifact, "scores")
    if not record.meta.get("has_standard_error"):
        table = table.drop("standard_error")
    if "suggested_label" in table.columns and schema.classes:
        places = pl.col("suggested_label").cast(pl.Int64)
        names = places.replace_strict(dict(enumerate(schema.classes)), default=None, return_dtype=pl.String)
        shown = names.cast(pl.Int64) if schema.has_whole_classes else names
        table = table.with_columns(shown.alias("suggested_label"))
    if record.table("frozen"):
        ids = store.table(artifact, "frozen", ["example_id"])["example_id"]
        listed = pl.col("example_id").is_in(ids.implode())
        table = table.with_columns(pl.when(pl.col("value").is_not_null()).then(listed).alias("frozen"))
    return table


def _blocks(source: Dataset, beside: pl.DataFrame | None) -> Iterator[pl.DataFrame]:
    """All rows of a data set in the order of its files, label layer and further columns joined on."""
    layer = _layer(source)
    for path in source.paths("examples"):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_A_TIME):
                yield _joined(pl.DataFrame(pl.from_arrow(batch)), layer, beside)


def _empty(source: Dataset, beside: pl.DataFrame | None) -> pl.DataFrame:
    """A block without rows."""
    return _joined(pl.DataFrame(schema=source.stored_types()), _layer(source), beside)


def _layer(source: Dataset) -> pl.DataFrame | None:
    """The label layer, whole; None where there is none."""
    paths = source.paths("labels")
    return pl.read_parquet(paths, glob=False) if paths else None


def _joined(block: pl.DataFrame, layer: pl.DataFrame | None, beside: pl.DataFrame | None) -> pl.DataFrame:
    if layer is not None:
        laid = [name for name in layer.columns if name != "example_id"]
        block = block.drop(laid, strict=False).join(layer, on="example_id", how="left", maintain_order="left")
    if beside is not None:
        block = block.join(beside, on="example_id", how="left", maintain_order="left")
    if "_corrected" in block.columns:
        given = pl.col("label").cast(block["_corrected"].dtype)
        corrected = pl.coalesce("_corrected", given).alias("label")
        block = block.with_columns(pl.col("label").alias("given_label"), corrected).drop("_corrected")
    return block
