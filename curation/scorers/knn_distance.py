"""Nearest-neighbour distance: how far an example is from those most like it, for finding outliers.

Angiulli, Pizzuti, "Fast Outlier Detection in High Dimensional Spaces", PKDD 2002, whose weight of a
point is the sum of these distances. https://doi.org/10.1007/3-540-45681-3_2

Differs from the paper: the mean in place of the sum, so that values of different k can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.neighborhood import grown, started
from curation.neighbors import Neighbors, Search, check_search, check_search_package, embeddings_of
from curation.scorer import Merge, MergingScorer, joined_index, mean_over_seeds, parted
from storage.index import ExampleIndex
from storage.values import Array, HighMeans, Scores, Signals


def mean_distance(squared_distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) mean of the distances of which (N, k) squares are given."""
    mean: NDArray[np.float64] = np.sqrt(squared_distances).mean(axis=1)
    return mean


@dataclass(frozen=True, kw_only=True)
class KNNDistance(MergingScorer):
    """Mean Euclidean distance to the k nearest other examples in signal `embedding` (N, D); high for outliers.

    Of a learner's seeds each is scored by itself; the score is their mean. Further rows change those earlier ones to
    which they are near. State are the embeddings, and the neighbour lists or the graph.
    """

    reads: ClassVar[tuple[str, ...]] = ("embedding",)
    high_means: ClassVar[HighMeans] = "suspect"
    revision: ClassVar[int] = 2

    num_neighbors: int = 10
    """k, at least 1 and below the number of examples."""
    search: Search = "auto"
    """`auto` compares all pairs of up to 250,000 rows; for more it follows a graph (usearch, `tamis[neighbors]`), which
    misses a few. `exact` and `approximate` say which."""

    def __post_init__(self) -> None:
        check_search(self.num_neighbors, self.search)

    def check_packages(self, num_examples: int) -> None:
        """Ask for usearch where a graph is followed."""
        check_search_package(self.search, num_examples)

    def start(self, signals: Signals) -> Merge:
        """Compare all rows with each other."""
        found, state = started(signals.index, embeddings_of(signals), self.num_neighbors, self.search)
        return Merge(state=state, new=self._scores(signals.index, found))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Compare the new rows with all, and merge them into the lists of the old ones."""
        index = joined_index(earlier.index, signals.index)
        found, state = grown(state, index, embeddings_of(signals), self.num_neighbors, self.search)
        return parted(earlier, self._scores(index, found), state)

    def _scores(self, index: ExampleIndex, found: list[Neighbors]) -> Scores:
        values = [mean_distance(one.squared_distances) for one in found]
        return mean_over_seeds(index, values, high_means=self.high_means)
