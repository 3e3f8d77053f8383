"""Features as an embedding: the numbers of each example in one row, shifted and scaled by fixed settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curation.examiner import INPUTS, Examiner, numbers
from curation.feature_scale import check_scale, scaled
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
        check_scale(self.mean, self.scale)

    @property
    def reads(self) -> tuple[str, ...]:
        """The features."""
        return (INPUTS,)

    def __call__(self, index: ExampleIndex, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Embeddings in single precision, computed in double."""
        return {"embedding": scaled(numbers(index, columns), self.mean, self.scale)}
