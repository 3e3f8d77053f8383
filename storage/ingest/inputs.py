"""Inputs: the rows of a source under features that are known, block by block, without making a data set of them.

Columns are found by the names and kinds of the model's features, and checked and decoded as an ingest does. A row that
breaks a rule (`docs/contract.md`) is told of with the rule and gives no input; no row is left out in silence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.contract import KEY, Contract, broken_rules
from storage.errors import SourceError
from storage.ingest.ahead import read_ahead
from storage.ingest.columns import Arrangement, arrange_columns, listing
from storage.ingest.source import Block, Format, Header, Source, open_format
from storage.schemas import Feature, FeatureKind, ImageFit, Roles

ROWS_AT_A_TIME = 8192
"""Most rows of a block."""
_DECODED_BYTES = 32 << 20
_BLOCKS_AHEAD = 2
_READ_AS: Mapping[FeatureKind, pl.DataType] = {
    "number": pl.Float64(),
    "category": pl.String(),
    "text": pl.String(),
    "vector": pl.List(pl.Float64()),
    "image": pl.List(pl.Int64()),
}
"""What a feature's column is read as that has no values, or lists beside other things."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InputBlock:
    """Consecutive rows of a source."""

    told: pl.DataFrame
    """(N,) `source_file` where the source has several, `source_row`, `key` where it has that column, and `problem`: the
    rule that a row breaks, or null."""
    frame: pl.DataFrame
    """(M,) the columns of the features, as a data set has them, of the rows without a problem, in order."""


def input_blocks(
    source: Source, features: Sequence[Feature], *, key: str | None = None, image_fit: ImageFit = "exact"
) -> Iterator[InputBlock]:
    """The rows of a source, as features that are known already. The columns are checked at once, rows as they come.

    Args:
        source: where the rows are; it needs the columns of the features, and may have others.
        features: of a data set's schema.
        key: a column that names each row; where the source lacks it, there is none.
        image_fit: what becomes of encoded images of another shape.

    Raises:
        SourceError: the source cannot be read, lacks a column, or has one of another kind.
    """
    reader = open_format(source)
    header = reader.columns(source.location)
    _check_columns(header, features, source.location)
    header = _known(header, features, source.location)
    named = key if key in header.columns and all(one.name != key for one in features) else None
    types = {name: _wanted(header, name, features) for name in header.columns}
    arrangement = _arranged(header, types, features, named, image_fit, source.location)
    needed = header.columns if header.inferred else arrangement.read_types
    read = {name: arrangement.read_types.get(name, types[name]) for name in needed}
    return _blocks(reader, read, arrangement)


def _blocks(reader: Format, read: Mapping[str, pl.DataType], arrangement: Arrangement) -> Iterator[InputBlock]:
    per_image = arrangement.decoded_bytes
    size = min(max(_DECODED_BYTES // per_image, 1), ROWS_AT_A_TIME) if per_image else ROWS_AT_A_TIME
    for block in read_ahead(reader.read(arrangement.location, read), _BLOCKS_AHEAD):
        for start in range(0, max(len(block.frame), 1), size):
            rejected = () if start else block.rejected
            part = replace(block, frame=block.frame[start : start + size], rows=block.rows[start : start + size])
            if len(part.frame) or rejected:
                yield _checked(replace(part, rejected=rejected), arrangement)


def _checked(block: Block, arrangement: Arrangement) -> InputBlock:
    decoded, undecoded = arrangement.decode(block.frame)
    frame = arrangement.arrange(decoded)
    rules = broken_rules(frame.drop(KEY, strict=False), arrangement.features, Contract())
    problems = _first(undecoded, rules, len(frame))
    good = np.array([one is None for one in problems], dtype=np.bool_)
    facts = {"source_row": block.rows - block.before, "problem": pl.Series(problems, dtype=pl.String)}
    told = pl.DataFrame({**facts, **({"key": frame[KEY]} if KEY in frame else {})})
    if block.rejected:
        rows = [(one.source_row - block.before, one.rule) for one in block.rejected]
        schema = {"source_row": pl.Int64, "problem": pl.String}
        told = pl.concat([told, pl.DataFrame(rows, schema, orient="row")], how="diagonal")
        told = told.sort("source_row", maintain_order=True)
    if block.file is not None:
        told = told.with_columns(source_file=pl.lit(block.file))
    names = [name for name in ("source_file", "source_row", "key", "problem") if name in told.columns]
    finished = arrangement.finish(frame.filter(good)).select(one.name for one in arrangement.features)
    return InputBlock(told=told.select(names), frame=finished)


def _first(undecoded: NDArray[np.object_] | None, rules: NDArray[np.object_] | None, count: int) -> list[str | None]:
    """The first rule that each of N rows breaks, None where it breaks none."""
    none: list[str | None] = [None] * count
    pairs = zip(none if undecoded is None else undecoded, none if rules is None else rules, strict=True)
    return [one or other for one, other in pairs]


def _check_columns(header: Header, features: Sequence[Feature], location: str) -> None:
    missing = {one.name: one for one in features if one.name not in header.columns}
    if missing:
        others = {name: None for name in header.columns if all(one.name != name for one in features)}
        has = f"; it has {listing(others)} besides" if others else ""
        raise SourceError(f"{location} lacks {listing(missing)}, which the model reads{has}")


def _known(header: Header, features: Sequence[Feature], location: str) -> Header:
    """The header with what is known of the features in place of guesses; other types are errors."""
    types = {one.name: _known_type(header, one) for one in features}
    nested = [name for name in header.nested if not isinstance(types.get(name), pl.List)]
    for one in features:
        if one.name in nested or not _can_be(types[one.name], one.kind):
            found = "lists or objects" if one.name in nested else types[one.name]
            raise SourceError(
                f"column {one.name!r} of {location} holds {found}; the model reads {_one(one.kind)}; cast it there"
            )
    return replace(header, columns={**header.columns, **types}, nested=nested)


def _known_type(header: Header, feature: Feature) -> pl.DataType:
    """A column's type; that of the feature where it has none, or lists of whole numbers or of several kinds."""
    dtype, kind = header.columns[feature.name], feature.kind
    if dtype == pl.Null or (kind in ("vector", "image") and feature.name in header.nested):
        return _READ_AS[kind]
    if kind == "vector" and isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_integer():
        return pl.Array(pl.Float64(), dtype.size) if isinstance(dtype, pl.Array) else _READ_AS[kind]
    return dtype


def _can_be(dtype: pl.DataType, kind: FeatureKind) -> bool:
    """Whether a column of a type may hold such a feature; numbers and words are told apart later."""
    if isinstance(dtype, pl.List | pl.Array):
        return dtype.inner.is_float() if kind == "vector" else kind == "image" and dtype.inner.is_integer()
    if kind in ("vector", "image"):
        return kind == "image" and dtype == pl.Binary
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)


def _one(kind: FeatureKind) -> str:
    return f"{'an' if kind == 'image' else 'a'} {kind}"


def _wanted(header: Header, name: str, features: Sequence[Feature]) -> pl.DataType:
    """The type to read a column as: of a text file that of the feature, since its types are guesses."""
    dtype = header.columns[name]
    if not header.inferred or isinstance(dtype, pl.List):
        return dtype
    kind = next((one.kind for one in features if one.name == name), "category")
    if kind == "number":
        return dtype if dtype == pl.Boolean else pl.Float64()
    return pl.String()


def _arranged(
    header: Header,
    types: Mapping[str, pl.DataType],
    features: Sequence[Feature],
    key: str | None,
    image_fit: ImageFit,
    location: str,
) -> Arrangement:
    """Where the features are in the source, with the shapes and categories that are known of them."""
    names = [one.name for one in features]
    needed = [name for name in header.columns if name in names or name == key]
    images = [one for one in features if one.kind == "image"]
    encoded = any(header.columns[one.name] == pl.Binary for one in images)
    arrangement = arrange_columns(
        replace(header, columns={name: types[name] for name in needed}, mostly_numbers=()),
        Roles(
            features=tuple(names),
            text=tuple(one.name for one in features if one.kind == "text"),
            key=key,
            image_shape=images[0].shape if images else None,
            image_fit=image_fit if encoded else "exact",
        ),
        location,
    )
    for found in arrangement.features:
        known = next(one for one in features if one.name == found.name)
        if found.kind != known.kind:
            raise SourceError(
                f"column {found.name!r} of {location} is {header.columns[found.name]}, a {found.kind}; the model reads "
                f"{_one(known.kind)}; cast it there"
            )
        if found.shape and found.shape != known.shape:
            raise SourceError(
                f"column {found.name!r} of {location} has the shape {found.shape}; the model reads {known.shape}"
            )
    return replace(arrangement, features=tuple(features))
