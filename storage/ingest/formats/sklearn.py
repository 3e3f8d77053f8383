"""scikit-learn's bundled sets: `sklearn:digits`, `sklearn:iris`, `sklearn:wine`, `sklearn:breast_cancer`.

Digits have a column `image` of 64 bytes (8 by 8, row by row; the values are the set's own, 0 to 16)
and a whole-number `label`. The others have number columns in snake case and the class name as `label`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from storage.errors import SourceError
from storage.ingest.source import Block, Header

PLACE = "row"
"""What a place in this kind of source is called."""

_LOADERS = {
    "breast_cancer": "load_breast_cancer",
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
}


def columns(location: str) -> Header:
    """The set's columns."""
    return Header(columns=dict(_frame(location).schema))


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """The whole set as one block: every bundled set is small."""
    frame = _frame(location).select(list(types))
    yield Block(frame=frame, rows=np.arange(1, len(frame) + 1, dtype=np.int64), fraction=1.0)


def fingerprint(location: str) -> str:
    """SHA-256 of column names, types and values."""
    frame = _frame(location)
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    for column in frame:
        digest.update(column.to_numpy().tobytes() if column.dtype != pl.String else "\n".join(column).encode())
    return digest.hexdigest()


def _frame(location: str) -> pl.DataFrame:
    name = location.removeprefix("sklearn:")
    if name not in _LOADERS:
        raise SourceError(f"scikit-learn bundles no set {name!r} for classification; there are {', '.join(_LOADERS)}")
    from sklearn import datasets  # takes a second to import

    bundle = getattr(datasets, _LOADERS[name])()
    if name == "digits":
        pixels = pl.Series("image", bundle.data.astype(np.uint8), dtype=pl.Array(pl.UInt8, 64))
        return pl.DataFrame([pixels, pl.Series("label", bundle.target.astype(np.int64))])
    numbers = {_snake_case(column): bundle.data[:, place] for place, column in enumerate(bundle.feature_names)}
    return pl.DataFrame({**numbers, "label": bundle.target_names[bundle.target].tolist()})


def _snake_case(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
