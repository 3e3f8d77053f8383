"""Features as an embedding: the numbers of each example in one row, shifted and scaled by fixed settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.examiner import INPUTS, Examiner, numbers
from storage.index import ExampleIndex
from storage.values import Array


@dataclass(frozen=True, kw_only=True)
class Features(Examiner):
    """Flatten each example's features to `embedding` (N, D): (feature - mean) / scale.

    Mean and scale are settings and not measured: measured ones would move old rows whenever new ones come.
    """

    gives: ClassVar[tuple[str, ...]] = ("embedding",)

    mean: tuple[float, ...] = (0.0,)
    """Subtracted: one finite number for all features, or one for each in their order."""
    scale: tuple[float, ...] = (1.0,)
    """Divided by: one finite number above 0 for all features, or one for each in their order."""

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if not values or not np.isfinite(values).all():
                raise ValueError(f"{name} must hold finite numbers, at least one, got {values}")
        if min(self.scale) <= 0:
            raise ValueError(f"scale must be above 0, got {min(self.scale)}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The features."""
        return (INPUTS,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Embeddings in single precision, computed in double."""
        flat = numbers(index, columns)
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) not in (1, flat.shape[1]):
                raise ValueError(f"{name} must hold 1 number or {flat.shape[1]}, one a feature, got {len(values)}")
        moved = (flat.astype(np.float64) - np.array(self.mean)) / np.array(self.scale)
        with np.errstate(over="ignore"):
            embedding = moved.astype(np.float32)
        if not np.isfinite(embedding).all():
            raise ValueError("features leave the range of single precision after shifting and scaling; raise 'scale'")
        return {"embedding": embedding}
