"""In what two tables of the same artifact differ, told apart by its likely reason."""

import hashlib
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.artifacts import Record
from storage.checkpoints import from_bytes
from storage.store import Store

_TIMING: dict[tuple[str, str], tuple[str, ...]] = {("training", "epochs"): ("seconds", "recording_seconds")}
"""Columns that hold the time taken: no two runs agree in them, and none is compared."""


def table_difference(store: Store, scratch: Store, record: Record, twin: Record, table: str) -> str | None:
    """In one clause, in what a rebuilt table whose bytes differ is another one.

    Args:
        store: has the artifact.
        scratch: has its rebuilt twin.
        record: of the artifact.
        twin: of the rebuilt one.
        table: the table's name.

    Returns:
        None if only the time taken differs, the name of a source that has moved, or how equal rows are cut into files.
    """
    for file in record.table(table):
        if hashlib.sha256(store.files.read(file.path)).hexdigest() != file.sha256:
            return f"table {table!r}: the stored file {file.path} is damaged, its hash is not the recorded one"
    pair = (_columns(store, record, table), _columns(scratch, twin, table))
    left_out = _TIMING.get((record.kind, table), ())
    if table == "quarantine" and record.meta["source"]["location"] != twin.meta["source"]["location"]:
        left_out = ("source_file",)
    before, after = ({name: one for name, one in side.items() if name not in left_out} for side in pair)
    if list(before) != list(after):
        return f"table {table!r}: its columns were {', '.join(before)} and are {', '.join(after)}"
    clauses, only_floats = [], True
    for name in before:
        found = _array_difference(before[name], after[name])
        if found is not None:
            clauses.append(f"{name} ({found[0]})")
            only_floats &= found[1]
    if clauses:
        reason = "hardware or number of threads" if only_floats else "the code that made it, or a package"
        return f"table {table!r}: {', '.join(clauses)} differ; the likely reason is {reason}"
    cut = [[file.rows for file in one.table(table)] for one in (record, twin)]
    return (
        None
        if left_out or cut[0] != cut[1]
        else f"table {table!r}: the values are the same, the bytes of the file are not"
    )


def _columns(store: Store, record: Record, table: str) -> dict[str, NDArray[Any]]:
    """Each column, or each array of a model, by name."""
    files = record.table(table)
    if files[0].path.endswith(".safetensors"):
        arrays, _ = from_bytes(store.files.read(files[0].path))
        return dict(arrays)
    frame = pl.concat([pl.read_parquet(store.files.read(file.path)) for file in files], how="vertical_relaxed")
    return {name: _array(frame[name]) for name in frame.columns}


def _array(column: pl.Series) -> NDArray[Any]:
    """A column's values; lists stay lists."""
    return np.array(column.to_list(), dtype=object) if isinstance(column.dtype, pl.List) else column.to_numpy()


def _array_difference(before: NDArray[Any], after: NDArray[Any]) -> tuple[str, bool] | None:
    """How two arrays differ, and whether they do so only as numbers computed in another order do."""
    if before.shape != after.shape:
        return f"{len(before)} rows became {len(after)}", False
    if before.dtype.kind == "f" and after.dtype.kind == "f":
        other = ~((before == after) | (np.isnan(before) & np.isnan(after)))
        if not other.any():
            return None
        largest = float(np.abs(before[other].astype(np.float64) - after[other]).max())
        return f"{_rows(other)} of {len(before)} rows, by at most {largest:.3g}", True
    other = np.array([one != two for one, two in zip(before.tolist(), after.tolist(), strict=True)], dtype=bool)
    return (f"{_rows(other)} of {len(before)} rows", False) if other.any() else None


def _rows(other: NDArray[np.bool_]) -> int:
    """Number of rows in which anything differs."""
    return int(other.reshape(len(other), -1).any(axis=1).sum()) if other.ndim else 1
