"""Relabel: corrected labels as a new label layer over a data set's rows, which stay where they are.

The layer says of each corrected row who changed it and why; rows that an earlier correction
changed keep what that one said, unless they are corrected again.
"""

from dataclasses import dataclass

import polars as pl

from storage.artifacts import Draft
from storage.damage import damage_told
from storage.dataset import Dataset
from storage.errors import SourceError
from storage.ingest.source import Source, open_format

BY, WHY = "relabelled_by", "relabelled_why"
"""Columns of the label layer: who corrected the row, and why; null where nobody did."""
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """Labels that somebody gives, and the reason."""

    rows: pl.DataFrame
    """`example_id` and `label`, both text, distinct ids."""
    by: str
    """Who says so."""
    why: str
    """The reason, in the words of who says so."""

    def __post_init__(self) -> None:
        for name in ("by", "why"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty: the new version remembers it for every corrected row")


def read_corrections(source: Source, dataset: str, *, own_key: str | None, by: str, why: str) -> Corrections:
    """Corrections from a file with a column `label` and one for the row; further columns do not count.

    Args:
        source: the file; its rows are told by `example_id`, by `key`, or by the data set's own key column.
        dataset: name of the data set, which stands before a key in an id.
        own_key: the column that was the key where the data set was read, if there was one.
        by: who says so.
        why: the reason.

    Raises:
        SourceError: a column is missing, a row is broken or empty, or an example comes twice.
    """
    reader, location = open_format(source), source.location
    header = reader.columns(location)
    named = next((name for name in ("example_id", "key", own_key) if name and name in header.columns), None)
    if named is None or "label" not in header.columns:
        raise SourceError(
            f"{location} has the columns {', '.join(header.columns)}; corrections need 'label' and "
            f"'example_id' (or 'key'{f', or {own_key!r}' if own_key else ''})"
        )
    kept = [named, "label"]
    types = {name: pl.String() if header.inferred else dtype for name, dtype in header.columns.items()}
    frames = []
    for block in reader.read(location, types):
        if block.rejected:
            first = block.rejected[0]
            raise SourceError(f"{reader.PLACE} {first.source_row} of {location} is broken: {first.rule}; correct it")
        frames.append(block.frame.select(pl.col(kept).cast(pl.String)))
    rows = pl.concat(frames).rename({named: "example_id"})
    for name in kept:
        empty = rows["example_id" if name == named else name].fill_null("") == ""
        if empty.any():
            raise SourceError(f"{int(empty.sum())} of {len(rows)} rows of {location} have no {name}; fill or drop them")
    if named != "example_id":
        rows = rows.with_columns(pl.concat_str(pl.lit(f"{dataset}:"), "example_id").alias("example_id"))
    twice = rows.filter(rows["example_id"].is_duplicated())
    if len(twice):
        raise SourceError(f"{location} has {twice['example_id'][0]!r} more than once; give each example one label")
    return Corrections(rows=rows, by=by, why=why)


def relabel(draft: Draft, dataset: Dataset, corrections: Corrections) -> int:
    """Fill a draft with a data set's own rows and a label layer in which the corrections hold.

    Args:
        draft: of kind `dataset`; gets all but its `source`.
        dataset: what is corrected; its files are shared, not copied.
        corrections: labels by id.

    Returns:
        How many labels are others now; corrections that say what was there already do not count.

    Raises:
        ValueError: the data set has no labels, an id or label is not among its own, or nothing changes.
    """
    given = corrections.rows
    _check_known(dataset, given)
    with damage_told(dataset.id):
        layer = _layer(dataset)
    joined = layer.join(given.rename({"label": "_new"}), on="example_id", how="left", maintain_order="left")
    missing = given.join(layer, on="example_id", how="anti")
    if len(missing):
        raise ValueError(
            f"{len(missing)} of {len(given)} ids are not in the data set (first: {missing['example_id'][0]!r})"
        )
    changed = (joined["_new"] != joined["label"].cast(pl.String)).fill_null(value=False)
    if not changed.any():
        raise ValueError(f"nothing changes: all {len(given)} examples have these labels already")
    corrected = pl.when(changed)
    layer = joined.with_columns(
        corrected.then(pl.col("_new").cast(layer.schema["label"])).otherwise("label").alias("label"),
        corrected.then(pl.lit(corrections.by)).otherwise(BY).alias(BY),
        corrected.then(pl.lit(corrections.why)).otherwise(WHY).alias(WHY),
    ).drop("_new")
    for table in ("examples", "quarantine"):
        draft.share(dataset.record.table(table))
    draft.add_table("labels", layer)
    count = int(changed.sum())
    draft.meta |= {**dataset.record.meta, "relabelled": {"labels": count, "by": corrections.by, "why": corrections.why}}
    return count


def _check_known(dataset: Dataset, given: pl.DataFrame) -> None:
    classes = dataset.schema.classes
    if not classes:
        raise ValueError("the data set has no labels that could be corrected")
    strange = given.filter(~pl.col("label").is_in(classes))
    if len(strange):
        known = ", ".join(classes[:_LISTED]) + (f", ... ({len(classes)} in all)" if len(classes) > _LISTED else "")
        raise ValueError(
            f"{len(strange)} of {len(given)} labels are not among the classes {known} (first: {strange['label'][0]!r})"
        )


def _layer(dataset: Dataset) -> pl.DataFrame:
    """The label layer as it is: id, label, the truth where the layer has it, and what earlier corrections said."""
    rows = dataset.scan()
    laid = dataset.layer_types()
    if BY not in laid and not {BY, WHY}.isdisjoint(rows.collect_schema().names()):
        raise ValueError(f"the data set has a column {BY!r} or {WHY!r} of its own; rename it and ingest again")
    kept = [name for name in ("label", "clean_label") if name == "label" or name in laid]
    empty = pl.lit(None, dtype=pl.String)
    said = [pl.col(name) if name in laid else empty.alias(name) for name in (BY, WHY)]
    return rows.select("example_id", *kept, *said).collect()
