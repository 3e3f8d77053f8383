"""Tally: what the kept rows hold, counted as they stream: classes, groups, categories, splits."""

from collections import Counter
from collections.abc import Sequence

import polars as pl

from storage.errors import SourceError
from storage.schemas import SPLITS, DatasetSchema, Feature

MOST_CLASSES = 10_000
"""More distinct labels than this look like regression."""
MOST_CATEGORIES = 10_000
"""More distinct values than this look like free text."""


class Tally:
    """Counts of values; rows can be taken away again."""

    def __init__(self, features: Sequence[Feature], location: str) -> None:
        """Count nothing yet; `location` is for messages."""
        self.features = tuple(features)
        """What `schema` will say of them, but for the categories."""
        self._location = location
        self._splits: Counter[str] = Counter()
        self._values: dict[str, Counter[int | str]] = {"label": Counter(), "group": Counter()}
        self._categories = {one.name: Counter[int | str]() for one in features if one.kind == "category"}

    @property
    def by_split(self) -> dict[str, int]:
        """Rows of each split."""
        return {split: self._splits[split] for split in SPLITS}

    def add(self, frame: pl.DataFrame) -> None:
        """Count rows of the table `examples`.

        Raises:
            SourceError: there are too many distinct labels or categories.
        """
        self._count(frame, 1)
        if len(self._values["label"]) > MOST_CLASSES:
            raise SourceError(
                f"{self._location} has more than {MOST_CLASSES} distinct labels, which looks like regression; "
                "tamis handles single-label classification and unlabelled pools"
            )
        for name, counter in self._categories.items():
            if len(counter) > MOST_CATEGORIES:
                raise SourceError(
                    f"category column {name!r} of {self._location} has more than {MOST_CATEGORIES} distinct values; "
                    "list it under roles.text, or leave it out of the features"
                )

    def remove(self, frame: pl.DataFrame) -> None:
        """Take away rows that were added."""
        self._count(frame, -1)

    def schema(self, columns: Sequence[str], metadata: Sequence[str]) -> DatasetSchema:
        """What was counted, as the data set's schema."""
        features = tuple(
            Feature(
                name=one.name, kind=one.kind, shape=one.shape, categories=self._names(self._categories.get(one.name))
            )
            for one in self.features
        )
        return DatasetSchema(
            features=features,
            classes=self._names(self._values["label"]),
            groups=self._names(self._values["group"]),
            has_clean_label="clean_label" in columns,
            metadata=tuple(metadata),
        )

    def _count(self, frame: pl.DataFrame, sign: int) -> None:
        _tally(self._splits, frame["split"], sign)
        for name, counter in self._values.items():
            if name in frame:
                _tally(counter, frame[name], sign)
        training = frame.filter(pl.col("split") == "train") if self._categories else frame
        for name, counter in self._categories.items():
            _tally(counter, training[name], sign)

    @staticmethod
    def _names(counter: Counter[int | str] | None) -> tuple[str, ...]:
        """Numbers by value, else texts in order."""
        return tuple(map(str, sorted(counter))) if counter else ()


def _tally(counter: Counter, column: pl.Series, sign: int) -> None:  # type: ignore[type-arg]
    for value, count in column.value_counts().iter_rows():
        counter[value] += sign * count
        if not counter[value]:
            del counter[value]
