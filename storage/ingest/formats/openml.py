"""OpenML through scikit-learn's fetcher: `openml:NAME@VERSION`, such as `openml:Fashion-MNIST@1`.

The fetcher needs the network once and keeps what it got in scikit-learn's data folder. The version must be
said, for a name's newest changes. The set is held in memory. Features that are all named
`pixel` and a number, with whole values from 0 to 255, become one column `image`; others are columns of their own,
nominal ones as text. The target is the column `label`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import SourceError
from storage.ingest.source import Block, Header, frame_fingerprint

PLACE = "row"
"""What a place in this kind of source is called."""


def columns(location: str) -> Header:
    """The set's columns."""
    return Header(columns=dict(_frame(location).schema))


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """The whole set as one block."""
    frame = _frame(location).select(list(types))
    yield Block(frame=frame, rows=np.arange(1, len(frame) + 1, dtype=np.int64), fraction=1.0)


def fingerprint(location: str) -> str:
    """SHA-256 of column names, types and values."""
    return frame_fingerprint(_frame(location))


@lru_cache(maxsize=1)
def _frame(location: str) -> pl.DataFrame:
    found = re.fullmatch(r"(?:openml:)?([^@]+)@(\d+)", location)
    if found is None:
        raise SourceError(f"{location} must be openml:NAME@VERSION, such as openml:Fashion-MNIST@1")
    from sklearn import datasets  # takes a second to import

    name, version = found[1], int(found[2])
    try:
        bunch = datasets.fetch_openml(name, version=version, as_frame=False, parser="liac-arff")
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(f"{location} cannot be fetched from OpenML: {reason}") from error
    if not isinstance(bunch.data, np.ndarray):
        raise SourceError(f"{location} is a sparse table, which is not read")
    if bunch.target is None or np.ndim(bunch.target) != 1:
        raise SourceError(f"{location} has no single target; tamis handles single-label classification")
    features = _features(bunch.data, list(bunch.feature_names), bunch.categories or {})
    if any(column.name == "label" for column in features):
        raise SourceError(f"{location} has a feature named 'label', the name of the target's column")
    label = pl.Series("label", [None if _is_missing(value) else value for value in bunch.target.tolist()])
    return pl.DataFrame([*features, label])


def _features(data: NDArray[np.float64], names: list[str], categories: Mapping[str, list[str]]) -> list[pl.Series]:
    """The columns of features."""
    pixels = all(re.fullmatch(r"pixel\d+", name) for name in names)
    if pixels and np.all((data >= 0) & (data <= 255) & (data % 1 == 0)):
        return [pl.Series("image", data.astype(np.uint8), dtype=pl.Array(pl.UInt8, data.shape[1]))]
    columns = []
    for place, name in enumerate(names):
        values = data[:, place].tolist()
        texts = categories.get(name)
        if texts is None:
            columns.append(pl.Series(name, [None if _is_missing(one) else one for one in values], dtype=pl.Float64))
        else:
            columns.append(
                pl.Series(name, [None if _is_missing(one) else texts[int(one)] for one in values], dtype=pl.String)
            )
    return columns


def _is_missing(value: object) -> bool:
    return value is None or value != value
