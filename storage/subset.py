"""Subset: a published selection as a map-style data set that a PyTorch DataLoader takes as it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from storage.values import Examples
from storage.versions import Version


class Subset:
    """The kept examples of a subset version, in NumPy.

    Each item is a dict of `input` (as stored: uint8 (H, W[, C]) or float32 (D,)), `label` (the
    corrected one where there is one), `weight`, `position` (dense row number in the training
    split, stable within this version) and `example_id`. Torch's default collation makes batches of it.
    """

    def __init__(self, version: Version, examples: Examples) -> None:
        """Hold the kept rows of some examples.

        Args:
            version: what these examples were published as.
            examples: the whole training split, with the weights of the selection.
        """
        self.version = version
        self.classes = examples.classes
        weights = examples.weights if examples.weights is not None else np.ones(len(examples), np.float32)
        self.positions = np.flatnonzero(weights > 0)
        self.index = examples.index.take(self.positions)
        self.inputs = examples.inputs[self.positions]
        self.labels = None if examples.labels is None else examples.labels[self.positions]
        self.weights = weights[self.positions]
        self._ids = self.index.ids.to_list()

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} in {self.version}")
        item = {
            "input": self.inputs[row],
            "weight": self.weights[row],
            "position": self.positions[row],
            "example_id": self._ids[row],
        }
        if self.labels is not None:
            item["label"] = self.labels[row]
        return item

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [self[row] for row in rows]

    def __repr__(self) -> str:
        return f"Subset({self.version}, {len(self)} examples, {len(self.classes)} classes)"
