"""Arrangement: which column of a source becomes which column of a data set, decided before any row is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.contract import KEY
from storage.errors import SourceError
from storage.ingest.decode import decoded_images
from storage.ingest.source import Header
from storage.schemas import RESERVED, Feature, FeatureKind, ImageFit, Roles
from storage.splits import spelled_splits

_NAMED = (KEY, *RESERVED)
_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The columns of the table `examples`, each with the source's column behind it."""

    location: str
    read_types: Mapping[str, pl.DataType]
    """What to parse each column of the source as, in the source's order."""
    sources: Mapping[str, str]
    """The source's column behind each of ours, in our order."""
    types: Mapping[str, pl.DataType]
    """Type of each of our columns as it is checked; images and vectors are still lists."""
    features: tuple[Feature, ...]
    metadata: tuple[str, ...]
    encoded: tuple[str, ...] = ()
    """Image columns whose rows are encoded, and must be decoded before they are arranged."""
    image_fit: ImageFit = "exact"

    def decode(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.object_] | None]:
        """Rows of the source with their images decoded.

        Returns:
            The rows, and (N,) the rule that each row's images break; None where all are good or none is encoded.
        """
        broken: NDArray[np.object_] | None = None
        for name in self.encoded:
            shape = next(feature.shape for feature in self.features if feature.name == name)
            images, rules = decoded_images(frame[name], shape, self.image_fit)
            frame = frame.with_columns(images)
            if broken is None or rules is None:
                broken = rules if broken is None else broken
            else:
                broken = np.where(broken == None, rules, broken)  # noqa: E711 (elementwise)
        return frame, broken

    @property
    def decoded_bytes(self) -> int:
        """Bytes of a row's images once they are decoded; 0 where none is encoded."""
        return sum(int(np.prod(feature.shape)) for feature in self.features if feature.name in self.encoded)

    @property
    def is_measured(self) -> bool:
        """Whether it is known how many numbers each vector has."""
        return all(feature.shape for feature in self.features if feature.kind == "vector")

    def measured(self, frame: pl.DataFrame) -> "Arrangement":
        """The same, with the lengths of vectors whose type does not say it: that of the first in these rows."""
        return replace(self, features=tuple(self._measured(feature, frame) for feature in self.features))

    def _measured(self, feature: Feature, frame: pl.DataFrame) -> Feature:
        if feature.kind != "vector" or feature.shape:
            return feature
        lengths = frame[self.sources[feature.name]].list.len().drop_nulls()
        filled = lengths.filter(lengths > 0)
        return replace(feature, shape=(int(filled[0]),)) if len(filled) else feature

    def arrange(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of the source under our names and types; what cannot be cast is null.

        Raises:
            SourceError: labels are fractions.
        """
        columns = []
        for name, source in self.sources.items():
            column = frame[source].alias(name)
            if name in ("label", "clean_label") and column.dtype.is_float():
                column = self._whole(column)
            columns.append(spelled_splits(column) if name == "split" else column.cast(self.types[name], strict=False))
        return pl.DataFrame(columns)

    def finish(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Good rows with their images as fixed-size arrays of bytes, and their vectors as such of numbers."""
        arrays = [
            pl.col(feature.name).cast(pl.List(pl.UInt8)).list.to_array(int(np.prod(feature.shape)))
            if isinstance(frame.schema[feature.name], pl.List)
            else pl.col(feature.name).cast(pl.Array(pl.UInt8, int(np.prod(feature.shape))))
            for feature in self.features
            if feature.kind == "image"
        ]
        arrays += [
            pl.col(feature.name).list.to_array(feature.shape[0])
            for feature in self.features
            if feature.kind == "vector"
        ]
        return frame.with_columns(arrays) if arrays else frame

    def _whole(self, column: pl.Series) -> pl.Series:
        column = column.fill_nan(None)
        if (column % 1 != 0).any():
            raise SourceError(
                f"the labels of {self.location} have fractions, which looks like regression; "
                "tamis handles single-label classification and unlabelled pools"
            )
        return column


def arrange_columns(header: Header, roles: Roles, location: str) -> Arrangement:
    """Find a place for every column of a source.

    Args:
        header: the source's columns.
        roles: what the user says they are.
        location: the source, for messages.

    Raises:
        SourceError: a column is not there, has two roles, or has a type that its role cannot use.
    """
    _check_names(header, location)
    named = _named_roles(header, roles, location)
    kinds = _feature_kinds(header, roles, location, set(named.values()))
    metadata = _metadata_names(header, {*named.values(), *kinds}, location)
    sources = {**named, **{name: name for name in kinds}, **metadata}
    types = {
        **_role_types(header, named, location),
        **{name: _stored_type(header, name, kinds[name]) for name in kinds},
    }
    types.update({ours: _plain_type(header.columns[source]) for ours, source in metadata.items()})
    ours_of = {source: ours for ours, source in sources.items()}
    return Arrangement(
        location=location,
        read_types={name: _read_type(dtype, types[ours_of[name]]) for name, dtype in header.columns.items()},
        sources=sources,
        types=types,
        features=tuple(
            Feature(name=name, kind=kind, shape=_shape(header.columns[name], kind, roles))
            for name, kind in kinds.items()
        ),
        metadata=tuple(metadata),
        encoded=tuple(name for name in kinds if header.columns[name] == pl.Binary),
        image_fit=roles.image_fit,
    )


def _check_names(header: Header, location: str) -> None:
    """Names must differ in more than case, since SQL does not tell cases apart, and be printable."""
    seen: dict[str, str] = {}
    for name in header.columns:
        if not name.strip() or not name.isprintable():
            raise SourceError(f"{location} has a column named {name!r}; give it a printable name")
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise SourceError(f"columns {other!r} and {name!r} of {location} differ in case alone; rename one")


def _named_roles(header: Header, roles: Roles, location: str) -> dict[str, str]:
    """Source columns by our name, for the roles that one column plays."""
    wanted = {
        KEY: roles.key,
        "label": roles.label,
        "clean_label": roles.clean_label,
        "split": roles.split,
        "group": roles.group,
    }
    named: dict[str, str] = {}
    for ours, source in wanted.items():
        role = "key" if ours == KEY else ours
        if source is None:
            continue
        if source not in header.columns:
            raise SourceError(f"{role} column {source!r} is not in {location}; it has {listing(header.columns)}")
        if source in named.values():
            raise SourceError(f"column {source!r} of {location} has two roles; give it one")
        if source in header.nested:
            raise SourceError(f"{role} column {source!r} of {location} holds lists or objects; it must hold one value")
        named[ours] = source
    if "clean_label" in named and "label" not in named:
        raise SourceError(f"{location} has a clean_label column declared but no label column")
    return named


def _feature_kinds(header: Header, roles: Roles, location: str, with_role: set[str]) -> dict[str, FeatureKind]:
    """The feature columns in the source's order, with the kind of each."""
    chosen = _resolve("feature", roles.features, header, location, with_role)
    if not chosen:
        raise SourceError(
            f"no feature columns of {location} are named; it has {listing(header.columns)} "
            "('*' takes all that have no role)"
        )
    texts = _resolve("text", roles.text, header, location, with_role)
    strangers = [name for name in texts if name not in chosen]
    if strangers:
        raise SourceError(f"text column {strangers[0]!r} of {location} is not among the features; add it to them")
    taken = [name for name in chosen if name.casefold() in _NAMED]
    if taken:
        raise SourceError(f"feature column {taken[0]!r} of {location} has a name that tamis uses itself; rename it")
    shape = roles.image_shape
    if shape is not None and (len(shape) not in (2, 3) or min(shape) < 1):
        raise ValueError(f"image_shape must be height, width and maybe channels, all at least 1, got {shape}")
    kinds = {name: _kind(name, header, roles, name in texts, location) for name in chosen}
    if shape is not None and "image" not in kinds.values():
        raise SourceError(f"image_shape is {shape}, but no feature column of {location} holds lists of bytes")
    if roles.image_fit == "resize" and not any(header.columns[name] == pl.Binary for name in kinds):
        raise ValueError(f"image_fit has no effect, since no feature column of {location} holds encoded images")
    return kinds


def _resolve(what: str, patterns: Sequence[str], header: Header, location: str, with_role: set[str]) -> dict[str, None]:
    """Columns that names and patterns stand for, in the source's order, as keys."""
    found = set()
    for pattern in patterns:
        if pattern in with_role:
            raise SourceError(f"column {pattern!r} of {location} has two roles; give it one")
        free = [name for name in header.columns if name not in with_role]
        matches = [pattern] if pattern in free else [name for name in free if fnmatchcase(name, pattern)]
        if not matches:
            raise SourceError(f"{what} column {pattern!r} is not in {location}; it has {listing(header.columns)}")
        found.update(matches)
    return dict.fromkeys(name for name in header.columns if name in found)


def _kind(name: str, header: Header, roles: Roles, is_text: bool, location: str) -> FeatureKind:
    dtype = header.columns[name]
    if name in header.number_lists:
        return "vector"
    if name in header.nested:
        raise SourceError(
            f"feature column {name!r} of {location} holds lists or objects, which no model reads; leave it out"
        )
    if dtype == pl.Binary:
        if roles.image_shape is None:
            raise SourceError(
                f"feature column {name!r} of {location} holds bytes; if they are encoded images, say their image_shape"
            )
        return "image"
    if isinstance(dtype, pl.List | pl.Array):
        if roles.image_shape is None:
            if isinstance(dtype.inner, pl.DataType) and dtype.inner.is_float():
                return "vector"
            raise SourceError(
                f"feature column {name!r} of {location} holds lists; if they are images, say their image_shape, "
                "and if they are vectors, cast their numbers to floats"
            )
        if not (isinstance(dtype.inner, pl.DataType) and dtype.inner.is_integer()):
            raise SourceError(
                f"image column {name!r} of {location} holds {dtype.inner}; images are whole numbers from 0 to 255"
            )
        size = int(np.prod(roles.image_shape))
        if isinstance(dtype, pl.Array) and dtype.size != size:
            raise SourceError(
                f"image column {name!r} of {location} has {dtype.size} values a row, "
                f"but image_shape {roles.image_shape} needs {size}"
            )
        return "image"
    if is_text:
        return "text"
    if dtype.is_numeric() or dtype == pl.Boolean or name in header.mostly_numbers:
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "category"
    raise SourceError(
        f"feature column {name!r} of {location} is of type {dtype}, which no model reads; leave it out of the features"
    )


def _shape(dtype: pl.DataType, kind: FeatureKind, roles: Roles) -> tuple[int, ...]:
    """The shape of an image as declared, of a vector as its type says; empty where the first rows must say it."""
    if kind == "vector" and isinstance(dtype, pl.Array):
        return (dtype.size,)
    return (roles.image_shape or ()) if kind == "image" else ()


def _stored_type(header: Header, name: str, kind: FeatureKind) -> pl.DataType:
    """Numbers of a text file are floats, since a fraction may come late; truth values are 0 and 1."""
    dtype = header.columns[name]
    if kind == "vector":
        return pl.List(pl.Float32())
    if dtype == pl.Binary and kind == "image":
        return pl.List(pl.UInt8())
    if kind in ("category", "text"):
        return pl.String()
    if dtype == pl.Boolean:
        return pl.UInt8()
    if kind == "number" and (header.inferred or dtype.is_decimal() or dtype in (pl.Int128, pl.UInt128)):
        return pl.Float64()
    return dtype


def _read_type(dtype: pl.DataType, ours: pl.DataType) -> pl.DataType:
    """What a reader of text parses a column as, so that nothing is lost before our own cast."""
    if ours == pl.List(pl.Float32):
        return pl.List(pl.Float64())
    return ours if ours in (pl.String, pl.Float64) else dtype


def _role_types(header: Header, named: Mapping[str, str], location: str) -> dict[str, pl.DataType]:
    types: dict[str, pl.DataType] = {"split": pl.String(), "group": pl.String(), KEY: pl.String()}
    if KEY in named and not (
        header.inferred or _is_text(header.columns[named[KEY]]) or header.columns[named[KEY]].is_integer()
    ):
        raise SourceError(
            f"key column {named[KEY]!r} of {location} is {header.columns[named[KEY]]}; keys are whole numbers or text"
        )
    for ours in ("label", "clean_label"):
        if ours not in named:
            continue
        dtype = header.columns[named[ours]]
        if not (dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null or _is_text(dtype)):
            raise SourceError(
                f"{ours} column {named[ours]!r} of {location} is {dtype}; labels are whole numbers or text"
            )
        as_text = _is_text(dtype) or (header.inferred and dtype == pl.Boolean)
        types[ours] = pl.String() if as_text else pl.Int64()
    if "clean_label" in named and pl.String() in (types["label"], types["clean_label"]):
        types["label"] = types["clean_label"] = pl.String()
    return {name: dtype for name, dtype in types.items() if name in named}


def _metadata_names(header: Header, used: set[str], location: str) -> dict[str, str]:
    """Source columns without a role, by the name they are kept under."""
    kept: dict[str, str] = {}
    for name in header.columns:
        if name in used:
            continue
        ours = f"{name}_original" if name.casefold() in _NAMED else name
        if ours in kept or (ours != name and ours in header.columns):
            raise SourceError(
                f"{location} has both {name!r} and {ours!r}; tamis uses the first name itself, rename one"
            )
        kept[ours] = name
    return kept


def _plain_type(dtype: pl.DataType) -> pl.DataType:
    return pl.String() if dtype in (pl.Categorical, pl.Enum, pl.Null) else dtype


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def listing(names: Mapping[str, object]) -> str:
    """The first names, and how many more there are."""
    listed = ", ".join(list(names)[:_LISTED])
    return f"{listed} and {len(names) - _LISTED} more" if len(names) > _LISTED else listed
