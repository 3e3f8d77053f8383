"""The hand-over: the kept rows of a subset as arrays in `.npy` files, joined once and mapped ever after.

Synthetic rows stand behind the kept ones, with weight 1; their positions go on where the training split ends.

They are an artifact of kind `handover`, made at a subset's first use in a store: as large as the kept inputs,
plus 24 bytes and the id for each row. Processes that map the same files share their pages, and what is not
looked at takes no memory. No version reaches the artifact, so `tamis gc` removes it after the grace period, and
the next use makes it again. A store that cannot be written has the rows in memory instead.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import NDArray

from storage.artifacts import Request
from storage.dataset import Dataset, input_array
from storage.values import Array, Selection

if TYPE_CHECKING:
    from storage.store import Store

ROWS_AT_A_TIME = 8192
"""Rows that are in memory at a time while inputs are written."""
_REVISION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Handover:
    """The kept rows of a subset, in the order of the training split."""

    positions: NDArray[np.int64]
    """(M,) rows in the training split, then, from its end on, those of synthetic rows."""
    inputs: Array
    """(M, H, W[, C]) uint8 images or (M, D) float32 features."""
    weights: NDArray[np.float32]
    """(M,) weights above 0."""
    id_ends: NDArray[np.int64]
    """(M,) where each id ends in `id_bytes`."""
    id_bytes: NDArray[np.uint8]
    """All ids as UTF-8, one behind the other."""
    labels: NDArray[np.int64] | None = None
    """(M,) classes to train on, corrected where the selection corrects them."""
    groups: NDArray[np.int64] | None = None
    """(M,) groups, where the data set has them."""

    def identifier(self, row: int) -> str:
        """Id of a row in [0, M)."""
        start = int(self.id_ends[row - 1]) if row else 0
        return self.id_bytes[start : int(self.id_ends[row])].tobytes().decode()


def map_files(paths: Mapping[str, Path]) -> Handover:
    """The rows in these files, by the name of the array; nothing is read yet."""
    return Handover(**{name: np.load(path, mmap_mode="c", allow_pickle=False) for name, path in paths.items()})


def hand_over(store: "Store", selection_id: str) -> tuple[Handover, Mapping[str, Path] | None]:
    """The kept rows of a selection, and the files that hold them; None where the store cannot be written.

    Raises:
        ValueError: a column has no form that a learner takes, or the data set is another one.
    """
    dataset = store.dataset(store.record(selection_id).request.inputs["dataset"])
    request = Request(
        kind="handover", settings={}, inputs={"dataset": dataset.id, "selection": selection_id}, revision=_REVISION
    )
    if not store.has(request.id):
        selection = store.selection(selection_id)
        try:
            _write(store, request, dataset, selection)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            whole = {name: np.concatenate(list(parts)) for name, _, parts in _columns(dataset, selection)}
            return Handover(**whole), None
    listed = store.record(request.id).files
    paths = {file.table: path for file, path in zip(listed, store.files.local(listed), strict=True)}
    return map_files(paths), paths


def _write(store: "Store", request: Request, dataset: Dataset, selection: Selection) -> None:
    """Publish the kept rows, a `.npy` file for each array, written part by part."""
    with store.write(request) as draft:
        for name, rows, parts in _columns(dataset, selection):
            with draft.writing(f"{name}.npy") as path, path.open("wb") as stream:
                for number, part in enumerate(parts):
                    if number == 0:
                        shape = (rows, *part.shape[1:])
                        header = {"descr": dtype_to_descr(part.dtype), "fortran_order": False, "shape": shape}
                        write_array_header_1_0(stream, header)
                    stream.write(np.ascontiguousarray(part).data)
            draft.add(name, f"{name}.npy")


def _columns(dataset: Dataset, selection: Selection) -> Iterator[tuple[str, int, Iterable[Array]]]:
    """Name, rows and parts, at least one, of each array of a `Handover`."""
    if selection.index != dataset.index("train"):
        raise ValueError(f"the selection is over other examples than the training split of {dataset.id}")
    positions = np.flatnonzero(selection.kept)
    ids, made = selection.index.take(positions).ids, selection.synthetic
    num_made = 0 if made is None else len(made)
    num_rows, behind = len(positions) + num_made, len(selection) + np.arange(num_made)
    yield "positions", num_rows, [positions.astype(np.int64), behind]
    yield "weights", num_rows, [selection.weights[positions], np.ones(num_made, dtype=np.float32)]
    ids = ids if made is None else pl.concat([ids, made.index.ids])
    yield "id_ends", num_rows, [np.cumsum(ids.str.len_bytes().to_numpy(), dtype=np.int64)]
    text = "".join(ids).encode()
    yield "id_bytes", len(text), [np.frombuffer(text, np.uint8)]
    labels = dataset.labels("train") if selection.labels is None else selection.labels
    further = (None, None) if made is None else (made.labels, made.groups)
    for name, column, more in zip(("labels", "groups"), (labels, dataset.groups("train")), further, strict=True):
        if column is not None:
            yield name, num_rows, [column[positions], *([] if more is None else [more])]
    yield "inputs", num_rows, _input_parts(dataset, selection)


def _input_parts(dataset: Dataset, selection: Selection) -> Iterator[Array]:
    """Inputs of the kept rows, part by part, and of synthetic ones."""
    features = dataset.schema.features
    names = [feature.name for feature in features]
    first = 0
    for block in dataset.blocks("train", names, ROWS_AT_A_TIME):
        yield input_array(block, features)[selection.kept[first : first + len(block)]]
        first += len(block)
    if selection.synthetic is not None:
        yield input_array(selection.synthetic.features, features)


def gathered(array: Array, rows: Sequence[int] | NDArray[np.integer]) -> Array:
    """Rows of an array, copied out."""
    taken: Array = np.take(array, rows, axis=0)
    return np.asarray(taken)
