"""Rows of a split as checks compare them: as texts, or as numbers, and by the hash of their content."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.examiner import INPUTS
from curation.examiners.content_hash import ContentHash
from storage.dataset import Dataset, input_array
from storage.index import ExampleIndex

BLOCK_ROWS = 1 << 16
"""Rows read at once."""
TEXT = "text"
"""What the joined text columns are called where an examiner reads them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedRows:
    """The N rows of one split; texts, numbers or both."""

    index: ExampleIndex
    texts: NDArray[np.object_] | None
    """(N,) the text columns, a line each; None for data without text."""
    numbers: NDArray[np.floating] | None
    """(N, D) the features as numbers; None where one of them is text."""
    hashes: NDArray[np.uint64]
    """(N, 2) equal where the text is, but for case and white space, or where all numbers are."""

    def __len__(self) -> int:
        return len(self.index)


def checked_rows(dataset: Dataset, split: str) -> CheckedRows:
    """The rows of a split.

    Raises:
        ValueError: the data set has no features, or a text is missing.
    """
    index, texts, features = dataset.index(split), text_columns(dataset), dataset.schema.features
    in_numbers = all(feature.kind != "text" for feature in features)
    names = [feature.name for feature in features] if in_numbers else []
    lines: list[str | None] = []
    blocks = []
    for frame in dataset.blocks(split, [*texts, *names], BLOCK_ROWS):
        if texts:
            # A null in one column makes the whole text null, which hashing then refuses by name.
            lines += frame.select(pl.concat_str(texts, separator="\n"))[texts[0]].to_list()
        if in_numbers:
            blocks.append(_flat(input_array(frame, features)))
    words = np.array(lines, dtype=np.object_) if texts else None
    numbers = None
    if in_numbers:
        numbers = np.concatenate(blocks) if blocks else np.zeros((0, 0), dtype=np.float32)
    return CheckedRows(index=index, texts=words, numbers=numbers, hashes=_hashes(index, words, numbers))


def text_columns(dataset: Dataset) -> list[str]:
    """The features that are text; of an embedded data set the column that was embedded."""
    found = [feature.name for feature in dataset.schema.features if feature.kind == "text"]
    embedded = dataset.record.meta.get("embedding", {}).get("column")
    return found or ([embedded] if embedded else [])


def _flat(inputs: NDArray[np.generic]) -> NDArray[np.float32]:
    return inputs.reshape(len(inputs), -1).astype(np.float32, copy=False)


def _hashes(
    index: ExampleIndex, texts: NDArray[np.object_] | None, numbers: NDArray[np.floating] | None
) -> NDArray[np.uint64]:
    if texts is not None:
        return ContentHash(column=TEXT, form="normalized")(index, {TEXT: texts})["content_hash"]
    return ContentHash()(index, {INPUTS: np.zeros(0) if numbers is None else numbers})["content_hash"]
