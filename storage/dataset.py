"""Dataset: one data set's rows read from its artifact, and the hand-over to arrays for training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.artifacts import Artifacts, Record
from storage.damage import damage_told
from storage.files import Files
from storage.growth import files_since
from storage.index import ExampleIndex
from storage.schemas import SPLITS, DatasetSchema, Feature
from storage.values import Array, Examples, Selection


class Dataset:
    """Read-only view of a data set artifact: its files, with the label layer laid over them."""

    def __init__(self, files: Files, record: Record) -> None:
        """Read the artifact with this record; nothing is loaded yet."""
        self.record = record
        self.schema = DatasetSchema.from_json(record.meta["schema"])
        self._files = files

    @property
    def id(self) -> str:
        """Id of the artifact."""
        return self.record.id

    def __len__(self) -> int:
        return self.record.rows("examples")

    def since(self, earlier: Record) -> "Dataset | None":
        """The rows behind those of a data set that this one grew from; None if there are none.

        Only files that the earlier one does not list are ever read.
        """
        examples = files_since(self.record, earlier, "examples")
        files = (*examples, *files_since(self.record, earlier, "labels"))
        return Dataset(self._files, replace(self.record, files=files)) if examples else None

    def scan(self) -> pl.LazyFrame:
        """All rows and columns, lazily; label and clean label come from the label layer where there is one."""
        frame = self._table("examples")
        if not self.record.table("labels"):
            return frame
        layer = self._table("labels")
        replaced = [name for name in layer.collect_schema().names() if name != "example_id"]
        return frame.drop(replaced, strict=False).join(layer, on="example_id", how="left", maintain_order="left")

    def read_as(self, features: tuple[Feature, ...], classes: tuple[str, ...]) -> "Dataset":
        """The same rows, as something reads them that was made for certain features and an order of the classes."""
        seen = Dataset(self._files, self.record)
        seen.schema = replace(self.schema, features=features, classes=classes)
        return seen

    def own_key(self) -> str | None:
        """The column that was the key where the first rows were read; None for keys made of the content."""
        key: str | None = self.first_columns().get("key")
        return key

    def first_columns(self) -> Mapping[str, Any]:
        """What the columns were where the first rows were read, as in `[columns]` of a recipe; empty if not known."""
        record = self.record
        while "columns" not in record.request.settings and "dataset" in record.request.inputs:
            record = Artifacts(self._files).record(record.request.inputs["dataset"])
        columns: Mapping[str, Any] = record.request.settings.get("columns", {})
        return columns

    def paths(self, table: str) -> list[Path]:
        """Where the files of a table lie, for a reader that must not load them whole."""
        return self._files.local(self.record.table(table))

    def blocks(self, split: str, columns: Sequence[str], most_rows: int) -> Iterator[pl.DataFrame]:
        """`example_id` and some columns of a split as they are stored, in the order of the files, block by block."""
        wanted = list(dict.fromkeys(("example_id", "split", *columns)))
        for path in self.paths("examples"):
            rows = _of_split(pl.scan_parquet(path, glob=False).select(wanted), split).collect()
            yield from (block for block in rows.iter_slices(most_rows) if len(block))

    def stored_types(self) -> dict[str, pl.DataType]:
        """Type of each column of the rows as they are stored, without the label layer."""
        with damage_told(self.id):
            return dict(self._table("examples").collect_schema())

    def layer_types(self) -> dict[str, pl.DataType]:
        """Type of each column that the label layer lays over the rows; empty where there is none."""
        if not self.record.table("labels"):
            return {}
        with damage_told(self.id):
            types = dict(self._table("labels").collect_schema())
        return {name: dtype for name, dtype in types.items() if name != "example_id"}

    def index(self, split: str) -> ExampleIndex:
        """Ids of a split, in the order of the files."""
        return ExampleIndex(self._rows(split)["example_id"])

    def labels(self, split: str) -> NDArray[np.int64] | None:
        """(N,) given labels of a split as positions in `schema.classes`; None for an unlabelled pool."""
        return self._classes_of("label", split) if self.schema.classes else None

    def clean_labels(self, split: str) -> NDArray[np.int64] | None:
        """(N,) true labels of a split, for reports only; None where they are not known."""
        return self._classes_of("clean_label", split) if self.schema.has_clean_label else None

    def groups(self, split: str) -> NDArray[np.int64] | None:
        """(N,) group of each example of a split as a position in `schema.groups`; None without groups."""
        if not self.schema.groups:
            return None
        with damage_told(self.id):
            names = _of_split(self.scan(), split).select("group").collect()["group"]
        return places_in(names, self.schema.groups)

    def examples(self, split: str, selection: Selection | None = None) -> Examples:
        """The examples of a split as arrays, with the weights and corrected labels of a selection.

        Synthetic rows of the selection stand behind the examples, with weight 1.

        Raises:
            ValueError: a column has no form that a learner takes, or the selection is over other examples.
        """
        names = [feature.name for feature in self.schema.features]
        with damage_told(self.id):
            rows = _of_split(self.scan(), split).select("example_id", *names).collect()
        index = ExampleIndex(rows["example_id"])
        labels = self.labels(split)
        if selection is not None and selection.index != index:
            raise ValueError(f"the selection is over other examples than the {split} split of {self.id}")
        if selection is not None and selection.labels is not None:
            labels = selection.labels
        given = Examples(
            index=index,
            inputs=input_array(rows, self.schema.features),
            labels=labels,
            classes=self.schema.classes,
            weights=None if selection is None else selection.weights,
            groups=self.groups(split),
        )
        return given if selection is None else self._with_synthetic(given, selection)

    def _with_synthetic(self, given: Examples, selection: Selection) -> Examples:
        made = selection.synthetic
        if made is None or given.labels is None or given.weights is None:
            return given
        both = given.groups is not None and made.groups is not None
        return replace(
            given,
            index=ExampleIndex(pl.concat([given.index.ids, made.index.ids])),
            inputs=np.concatenate([given.inputs, input_array(made.features, self.schema.features)]),
            labels=np.concatenate([given.labels, made.labels]),
            weights=np.concatenate([given.weights, np.ones(len(made), dtype=np.float32)]),
            groups=np.concatenate([given.groups, made.groups]) if both else None,
        )

    def _classes_of(self, column: str, split: str) -> NDArray[np.int64]:
        return places_in(self._rows(split)[column].cast(pl.String), self.schema.classes)

    def _rows(self, split: str) -> pl.DataFrame:
        rows = self._labels_and_splits
        return _of_split(rows.lazy(), split).collect()

    @cached_property
    def _labels_and_splits(self) -> pl.DataFrame:
        wanted = ["example_id", "split"]
        wanted += ["label"] if self.schema.classes else []
        wanted += ["clean_label"] if self.schema.has_clean_label else []
        with damage_told(self.id):
            return self.scan().select(wanted).collect()

    def _table(self, name: str) -> pl.LazyFrame:
        return pl.scan_parquet(self._files.local(self.record.table(name)), glob=False)


def _of_split(rows: pl.LazyFrame, split: str) -> pl.LazyFrame:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return rows.filter(pl.col("split") == split)


def places_in(names: pl.Series, order: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) positions of names in an order; -1 where the name is missing or not in it."""
    found = names.replace_strict(list(order), list(range(len(order))), default=None, return_dtype=pl.Int64).fill_null(
        -1
    )
    positions: NDArray[np.int64] = found.to_numpy()
    return positions


def input_array(rows: pl.DataFrame, features: tuple[Feature, ...]) -> Array:
    """(N, ...) uint8 for one image column, or (N, D) float32: numbers and vectors as they are, categories one-hot."""
    kinds = {feature.kind for feature in features}
    if not features:
        raise ValueError("the data set has no feature columns; name them in [columns] of the recipe")
    if "text" in kinds:
        text = next(feature.name for feature in features if feature.kind == "text")
        raise ValueError(
            f"column {text!r} holds text, which no model here takes as it is; embed it first, by [embedding]"
        )
    if kinds == {"image"} and len(features) == 1:
        images: Array = rows[features[0].name].to_numpy().reshape(len(rows), *features[0].shape)
        return images
    if "image" in kinds:
        raise ValueError(
            "one image column, or numbers, vectors and categories, can be inputs; this data set mixes them"
        )
    blocks = [_columns(rows[feature.name], feature) for feature in features]
    return np.ascontiguousarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1))


def input_shape(features: tuple[Feature, ...]) -> tuple[int, ...]:
    """Shape of one example in what `input_array` makes: (H, W), (H, W, C) or (D,)."""
    if [feature.kind for feature in features] == ["image"]:
        return features[0].shape
    return (sum(len(one.categories) if one.kind == "category" else math.prod(one.shape) for one in features),)


def _columns(values: pl.Series, feature: Feature) -> NDArray[np.float32]:
    if feature.kind == "vector":
        vectors: NDArray[np.float32] = values.to_numpy().reshape(len(values), *feature.shape)
        return vectors
    if feature.kind == "number":
        if values.null_count():
            raise ValueError(
                f"feature {feature.name!r} has {values.null_count()} missing values of {len(values)}; "
                "fill them before ingest, or leave the column out of the features"
            )
        numbers: NDArray[np.float32] = values.cast(pl.Float32).to_numpy().reshape(-1, 1)
        return numbers
    positions = places_in(values.cast(pl.String), feature.categories)
    one_hot: NDArray[np.float32] = (positions[:, None] == np.arange(len(feature.categories))).astype(np.float32)
    return one_hot
