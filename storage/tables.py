"""Value types to tables and back: what the columns of scores, selections and signals are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from storage.errors import CorruptError
from storage.index import ExampleIndex
from storage.values import Array, Scores, Selection, Signals, SyntheticRows

_SCORE_COLUMNS = ("example_id", "value", "standard_error")


def scores_to_table(scores: Scores) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Table `scores` (id, value, standard error, further columns) and the meta that goes with it."""
    error = scores.standard_error
    frame = pl.DataFrame(
        {
            "example_id": scores.index.ids,
            "value": scores.values,
            "standard_error": pl.Series(error, dtype=pl.Float64)
            if error is not None
            else pl.repeat(None, len(scores), dtype=pl.Float64, eager=True),
            **{name: pl.Series(values) for name, values in scores.columns.items()},
        }
    )
    meta = {
        "high_means": scores.high_means,
        "has_standard_error": error is not None,
        "columns": list(scores.columns),
    }
    return frame, meta


def scores_from_table(frame: pl.DataFrame, meta: Mapping[str, Any]) -> Scores:
    """The scores that `scores_to_table` wrote."""
    return Scores(
        index=ExampleIndex(frame["example_id"]),
        values=frame["value"].to_numpy(),
        high_means=meta["high_means"],
        standard_error=frame["standard_error"].to_numpy() if meta["has_standard_error"] else None,
        columns={name: frame[name].to_numpy() for name in meta["columns"]},
    )


def selection_to_table(selection: Selection) -> pl.DataFrame:
    """Table `selection`: id, weight, reason and the corrected class position (null keeps the given one)."""
    labels = selection.labels
    return pl.DataFrame(
        {
            "example_id": selection.index.ids,
            "weight": selection.weights,
            "reason": pl.Series(selection.reasons.tolist(), dtype=pl.String),
            "label": pl.Series(labels, dtype=pl.Int64)
            if labels is not None
            else pl.repeat(None, len(selection), dtype=pl.Int64, eager=True),
        }
    )


def selection_from_table(frame: pl.DataFrame) -> Selection:
    """The selection that `selection_to_table` wrote."""
    corrected = frame["label"].null_count() < len(frame)
    return Selection(
        index=ExampleIndex(frame["example_id"]),
        weights=frame["weight"].to_numpy(),
        reasons=np.array(frame["reason"].to_list(), dtype=object),
        labels=frame["label"].to_numpy() if corrected else None,
    )


def synthetic_to_tables(rows: SyntheticRows) -> dict[str, pl.DataFrame]:
    """By name the tables `synthetic` (columns of `selection`, group, parents and gap) and `synthetic_features`."""
    made = pl.DataFrame(
        {
            "example_id": rows.index.ids,
            "weight": pl.repeat(1, len(rows), dtype=pl.Float32, eager=True),
            "reason": pl.repeat(f"synthetic ({rows.method})", len(rows), dtype=pl.String, eager=True),
            "label": pl.Series(rows.labels, dtype=pl.Int64),
            "group": pl.Series(rows.groups, dtype=pl.Int64)
            if rows.groups is not None
            else pl.repeat(None, len(rows), dtype=pl.Int64, eager=True),
            "parent_a": rows.parent_a,
            "parent_b": rows.parent_b,
            "gap": rows.gap,
            "voters": rows.voters.cast(pl.List(pl.String)),
        }
    )
    return {"synthetic": made, "synthetic_features": rows.features.select(rows.index.ids, pl.all())}


def synthetic_from_tables(made: pl.DataFrame, features: pl.DataFrame, method: str) -> SyntheticRows:
    """The synthetic rows that `synthetic_to_tables` wrote.

    Raises:
        CorruptError: the two tables are of different rows.
    """
    if not made["example_id"].equals(features["example_id"]):
        raise CorruptError("the tables of synthetic rows and of their features are of different rows")
    return SyntheticRows(
        index=ExampleIndex(made["example_id"]),
        features=features.drop("example_id"),
        labels=made["label"].to_numpy(),
        parent_a=made["parent_a"],
        parent_b=made["parent_b"],
        gap=made["gap"].to_numpy(),
        voters=made["voters"],
        method=method,
        groups=None if made["group"].null_count() else made["group"].to_numpy(),
    )


def signals_to_table(
    index: ExampleIndex, arrays: Mapping[str, Array], epochs: Mapping[str, Sequence[int]]
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """One seed's recorded arrays, each (N, T, ...), as flat fixed-size lists, and the meta with their shapes."""
    columns: dict[str, Any] = {"example_id": index.ids}
    shapes: dict[str, Any] = {}
    for name, array in arrays.items():
        columns[name] = pl.Series(name, np.ascontiguousarray(array.reshape(len(index), -1)))
        shapes[name] = {"shape": list(array.shape[1:]), "epochs": list(epochs[name])}
    return pl.DataFrame(columns), {"signals": shapes}


def signals_from_tables(
    runs: Sequence[tuple[pl.DataFrame, Mapping[str, Any]]], further: Mapping[str, Array]
) -> Signals:
    """Several seeds' tables stacked along a leading replicate axis.

    Args:
        runs: R tables with their meta, of the same examples, signals and epochs.
        further: arrays that do not depend on the seed, such as `label`.

    Raises:
        CorruptError: the seeds were recorded over different examples, or differently.
    """
    first, meta = runs[0]
    index = ExampleIndex(first["example_id"])
    shapes = meta["signals"]
    for frame, other in runs[1:]:
        if other["signals"] != shapes or not frame["example_id"].equals(first["example_id"]):
            raise CorruptError("seeds of one learner were recorded over different examples or epochs")
    arrays: dict[str, Array] = dict(further)
    for name, spec in shapes.items():
        stacked = np.stack([frame[name].to_numpy() for frame, _ in runs])
        arrays[name] = stacked.reshape(len(runs), len(index), *spec["shape"])
    epochs = {name: tuple(spec["epochs"]) for name, spec in shapes.items()}
    return Signals(index=index, arrays=arrays, epochs=epochs)


def arrays_to_table(index: ExampleIndex, arrays: Mapping[str, Array]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Arrays (N, ...) that were not recorded over epochs as a table, and the shapes that go with it."""
    flat = {name: array if array.ndim == 1 else array.reshape(len(index), -1) for name, array in arrays.items()}
    columns = {name: pl.Series(name, np.ascontiguousarray(array)) for name, array in flat.items()}
    described = {name: {"shape": list(array.shape[1:]), "epochs": []} for name, array in arrays.items()}
    return pl.DataFrame({"example_id": index.ids, **columns}), described


def arrays_from_table(frame: pl.DataFrame, shapes: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays (N, ...) of a table of signals that were not recorded over epochs, by name."""
    return {name: frame[name].to_numpy().reshape(len(frame), *spec["shape"]) for name, spec in shapes.items()}
