"""Percentile: where each example stands in the order of another score, kept up as rows are added."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from curation.ranks import merged_sorted, percentile_ranks
from curation.scorer import Merge, MergingScorer, check_finite, joined_index, parted
from storage.index import ExampleIndex
from storage.values import Array, HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class Percentile(MergingScorer):
    """Share of the set that lies below an example by another score, equal ones counting by half.

    Reads `score` (N,): the values of the score that setting `score` names, which flows hand over. Further rows change
    most earlier ones. State are the values in the order of the rows and in ascending order.
    """

    reads: ClassVar[tuple[str, ...]] = ("score",)
    high_means: ClassVar[HighMeans] = "suspect"

    score: str
    """Name of the score to rank by."""
    says: HighMeans = "suspect"
    """What a high value of that score says; a high percentile says the same."""

    def __post_init__(self) -> None:
        if not self.score:
            raise ValueError("score must name the score to rank by, got ''")
        if self.says not in get_args(HighMeans):
            raise ValueError(f"says must be one of {', '.join(get_args(HighMeans))}, got {self.says!r}")

    def start(self, signals: Signals) -> Merge:
        """Rank all rows."""
        values = _checked(signals)
        ordered = np.sort(values)
        return Merge(state={"value": values, "ordered": ordered}, new=self._scores(signals.index, values, ordered))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Merge the new values into the order of the old ones."""
        added = _checked(signals)
        values = np.concatenate([state["value"], added])
        ordered = merged_sorted(state["ordered"], np.sort(added))
        whole = self._scores(joined_index(earlier.index, signals.index), values, ordered)
        return parted(earlier, whole, {"value": values, "ordered": ordered})

    def _scores(self, index: ExampleIndex, values: NDArray[np.float64], ordered: NDArray[np.float64]) -> Scores:
        return Scores(index=index, values=percentile_ranks(values, ordered), high_means=self.says)


def _checked(signals: Signals) -> NDArray[np.float64]:
    values = np.asarray(signals["score"], dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"signal 'score' must be (N,), got {values.shape}")
    check_finite(signals.index, "score", values[None])
    return values
