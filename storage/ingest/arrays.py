"""Arrays: NumPy arrays by name as the columns of a frame, for NPZ files and for objects in memory."""

import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import SourceError

_PLAIN_KINDS = "biufUM"


def check_arrays(shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype], location: str) -> int:
    """How many rows arrays have that are to be columns.

    Args:
        shapes: shape of each array.
        dtypes: type of each array.
        location: where they are, for messages.

    Raises:
        SourceError: there is none, their first axes differ, or one has a type or shape that no column has.
    """
    if not shapes:
        raise SourceError(f"{location} holds no arrays")
    for name, shape in shapes.items():
        dtype = dtypes[name]
        if dtype.kind not in _PLAIN_KINDS:
            raise SourceError(
                f"array {name!r} of {location} is of type {dtype}; a column is numbers, truth values, texts or dates"
            )
        if not shape:
            raise SourceError(f"array {name!r} of {location} is a single value; the first axis must be the rows")
        if len(shape) > 2 and dtype.kind not in "iu":
            raise SourceError(
                f"array {name!r} of {location} has shape {shape} and type {dtype}; beyond two axes only whole numbers "
                "(images) are taken"
            )
        if 0 in shape[1:]:
            raise SourceError(f"array {name!r} of {location} has shape {shape}, so its rows are empty")
    lengths = {name: shape[0] for name, shape in shapes.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SourceError(f"the arrays of {location} differ in rows: {listed}; the first axis must be the same")
    return next(iter(lengths.values()))


def frame_of_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> pl.DataFrame:
    """A frame with the arrays' rows.

    Arrays of bytes (`uint8`) with several axes, and of whole numbers with more than two, become one column of
    flat images; other arrays of two axes one column per number, named `<array>_0`, `<array>_1`, ...

    Args:
        arrays: (N,) or (N, ...) each, as `check_arrays` lets through.
    """
    columns: list[pl.Series] = []
    for name, array in arrays.items():
        if array.ndim == 1:
            values = array.astype(np.float32) if array.dtype == np.float16 else array
            plain = values.tolist() if array.dtype.kind == "U" else np.ascontiguousarray(values)
            columns.append(pl.Series(name, plain, dtype=pl.String() if array.dtype.kind == "U" else None))
        elif array.dtype == np.uint8 or array.ndim > 2:
            flat = np.ascontiguousarray(array.reshape(len(array), math.prod(array.shape[1:])))
            columns.append(pl.Series(name, flat, dtype=pl.Array(_inner(flat.dtype), flat.shape[1])))
        else:
            parts = frame_of_arrays({f"{name}_{place}": array[:, place] for place in range(array.shape[1])})
            columns.extend(parts.get_columns())
    return pl.DataFrame(columns)


def _inner(dtype: np.dtype) -> pl.DataType:
    return pl.Series(np.empty(0, dtype=dtype)).dtype
