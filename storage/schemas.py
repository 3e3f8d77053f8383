"""What tables look like: column roles, a data set's schema, and the columns of every kind of artifact.

Light on purpose: the other packages may import this module.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import polars as pl

from storage.errors import CorruptError

SCHEMA_VERSION = 1
"""Raised when the layout of artifacts changes; older records stay readable."""

SPLITS = ("train", "validation", "test")
"""Learners, scorers and selectors see `train`; choices use `validation`; `test` only reports."""

RESERVED = ("example_id", "label", "clean_label", "split", "group")
"""Columns that tamis names itself; a source's metadata column of that name gets the suffix `_original`."""

FeatureKind = Literal["number", "category", "text", "image", "vector"]

ImageFit = Literal["exact", "resize"]
"""Encoded images must have `image_shape` as they are, or are resized to it."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which column of a source plays which part; columns without a role are kept as metadata."""

    features: tuple[str, ...] = ()
    """Columns that a model may see; names or patterns such as `pixel_*`; `*` is every column without a role."""
    text: tuple[str, ...] = ()
    """Those feature columns, by name or pattern, that are free text; other text columns are categories."""
    label: str | None = None
    """The given label, maybe wrong; None for a pool without labels."""
    key: str | None = None
    """Column whose value names an example for good; None derives the id from the content."""
    split: str | None = None
    """Column that says `train`, `validation` or `test`; None draws splits by the fractions given."""
    group: str | None = None
    """Subpopulation, for worst-group results; never fed to a model."""
    clean_label: str | None = None
    """The true label where it is known; no scorer, selector or learner reads it."""
    image_shape: tuple[int, ...] | None = None
    """Height, width and, for colour, channels of a feature column of flat lists of bytes or of encoded images."""
    image_fit: ImageFit = "exact"
    """`exact` sends encoded images of another shape to quarantine, `resize` scales them and converts their colours."""

    def __post_init__(self) -> None:
        if self.image_fit not in get_args(ImageFit):
            raise ValueError(f"image_fit must be one of {', '.join(get_args(ImageFit))}, got {self.image_fit!r}")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column that a model may see."""

    name: str
    kind: FeatureKind
    shape: tuple[int, ...] = ()
    """Height, width (and channels) of an image; numbers of a vector."""
    categories: tuple[str, ...] = ()
    """Values of a category seen in the training split, sorted."""


@dataclass(frozen=True, kw_only=True)
class DatasetSchema:
    """The columns of a data set and what they mean."""

    features: tuple[Feature, ...]
    classes: tuple[str, ...] = ()
    """Class names in order: numbers by value, others by text; empty for a pool without labels."""
    groups: tuple[str, ...] = ()
    """Group names, sorted; empty without a group column."""
    has_clean_label: bool = False
    metadata: tuple[str, ...] = ()
    """Columns kept for queries and never fed to a model."""

    @property
    def has_whole_classes(self) -> bool:
        """Whether every class is written as a whole number, and so is shown as one."""
        return all(re.fullmatch("0|-?[1-9][0-9]{0,17}", one) for one in self.classes)

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> "DatasetSchema":
        """The schema that `to_json` wrote."""
        features = tuple(
            Feature(
                name=one["name"],
                kind=one["kind"],
                shape=tuple(one["shape"]),
                categories=tuple(one["categories"]),
            )
            for one in raw["features"]
        )
        return DatasetSchema(
            features=features,
            classes=tuple(raw["classes"]),
            groups=tuple(raw["groups"]),
            has_clean_label=raw["has_clean_label"],
            metadata=tuple(raw["metadata"]),
        )


_IDS = {"example_id": pl.String}
_OUTCOMES = {"label": pl.Int64, "predicted": pl.Int64, "correct": pl.Boolean, "logits": pl.Array}
_REQUIRED: dict[tuple[str, str], dict[str, Any]] = {
    ("dataset", "examples"): {**_IDS, "split": pl.String},
    ("dataset", "labels"): {**_IDS},
    ("dataset", "quarantine"): {"source_row": pl.Int64, "rule": pl.String, "row": pl.String},
    ("training", "signals"): _IDS,
    ("training", "epochs"): {"epoch": pl.Int64},
    ("signals", "signals"): _IDS,
    ("scores", "scores"): {**_IDS, "value": pl.Float64, "standard_error": pl.Float64},
    ("scores", "frozen"): _IDS,
    ("selection", "selection"): {**_IDS, "weight": pl.Float32, "reason": pl.String, "label": pl.Int64},
    ("selection", "synthetic"): {
        **{**_IDS, "weight": pl.Float32, "reason": pl.String, "label": pl.Int64, "group": pl.Int64},
        **{"parent_a": pl.String, "parent_b": pl.String, "gap": pl.Float64, "voters": pl.List(pl.String)},
    },
    ("selection", "synthetic_features"): _IDS,
    ("evaluation", "predictions"): {**_IDS, "predicted": pl.Int64, "correct": pl.Boolean},
    ("evaluation", "best_predictions"): {**_IDS, **_OUTCOMES},
    ("evaluation", "attacked"): {**_IDS, "epoch": pl.String, "attack": pl.String, **_OUTCOMES},
}


def check_table(kind: str, table: str, schema: Mapping[str, Any]) -> None:
    """Check a table's columns against what its kind must have; further columns are allowed.

    Raises:
        CorruptError: a column is missing or has another type.
    """
    if (kind, table) not in _REQUIRED:
        raise CorruptError(f"artifacts of kind {kind!r} have no table {table!r}")
    for name, dtype in _REQUIRED[kind, table].items():
        if name not in schema:
            raise CorruptError(f"table {table!r} of a {kind} lacks the column {name!r}")
        if schema[name] != dtype:
            raise CorruptError(f"column {name!r} of table {table!r} must be {dtype}, got {schema[name]}")
