"""Embedding duplicates: examples whose embedding points the same way as that of an earlier one.

Abbas, Tirumala, Simig, Ganguli, Morcos, "SemDeDup: Data-efficient learning at web-scale through semantic
deduplication", 2023. https://arxiv.org/abs/2303.09540

Differs from the paper: pairs are sought among all rows instead of within cells of k-means, so that none is missed at
the border of a cell; and a cluster keeps its first row in the order of the data set instead of the one that is least
like the centre of its cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.clusters import check_alarm_share, keeper_scores
from curation.directions import cosines, directions, joined_by_cosine, joined_by_graph
from curation.neighbors import (
    Points,
    Rows,
    Search,
    check_same_width,
    check_search,
    check_search_package,
    embedding_of,
    searches_exactly,
)
from curation.scorer import Merge, MergingScorer, joined_index, parted
from storage.index import ExampleIndex
from storage.values import Array, HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class EmbeddingDuplicates(MergingScorer):
    """Score 1 where a row belongs to the cluster of an earlier one, in the order of the data set, else 0.

    Reads `embedding` (N, D). Two rows are linked where the cosine of their embeddings reaches the threshold; a cluster
    is what links connect, so its ends may be less alike. A row of zeros is linked to none. Columns: `keeper`, the id of
    the cluster's first row, and `similarity`, the cosine to it, in [-1, 1]. Further rows change earlier ones where they
    link two clusters. State are the embeddings, 8 bytes a row, and the graph, where one is followed.
    """

    reads: ClassVar[tuple[str, ...]] = ("embedding",)
    high_means: ClassVar[HighMeans] = "suspect"
    revision: ClassVar[int] = 2
    by_seed: ClassVar[bool] = False

    threshold: float = 0.95
    """Smallest cosine of two linked rows, in (0, 1]; what it means depends on what gives the embedding."""
    search: Search = "auto"
    """`auto` compares all pairs of up to 250,000 rows; for more it follows a graph (usearch, `tamis[neighbors]`), which
    misses a few. `exact` and `approximate` say which."""
    num_neighbors: int = 10
    """Nearest rows, at least 1, that an approximate search looks at; an exact one looks at all within the threshold."""
    alarm_share: float = 0.5
    """Largest plausible share of duplicates, in (0, 1]; above it scoring fails with a message."""

    def __post_init__(self) -> None:
        check_alarm_share(self.alarm_share)
        check_search(self.num_neighbors, self.search)
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")

    def check_packages(self, num_examples: int) -> None:
        """Ask for usearch where a graph is followed."""
        check_search_package(self.search, num_examples)

    def start(self, signals: Signals) -> Merge:
        """Compare all rows with each other."""
        embedding = embedding_of(signals)
        units = directions(embedding)
        keepers, graph = self._keepers(units, np.zeros(0, dtype=np.int64), None)
        return Merge(state=_state(embedding, keepers, graph), new=self._scores(signals.index, units, keepers))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Compare the new rows with the old ones and with each other; or let them enter the graph, and search it."""
        index, new, old = joined_index(earlier.index, signals.index), embedding_of(signals), state["embedding"]
        check_same_width(new, old)
        embedding = np.concatenate([old, new])
        units = directions(embedding)
        keepers, graph = self._keepers(units, state["keepers"], state.get("graph"))
        return parted(earlier, self._scores(index, units, keepers), _state(embedding, keepers, graph))

    def _keepers(self, units: Points, known: Rows, stored: Array | None) -> tuple[Rows, Array | None]:
        """(N,) keepers of all rows, from those that the first ones have among themselves; and the graph, if any."""
        if not searches_exactly(self.search, len(units)):
            return joined_by_graph(units, self.threshold, self.num_neighbors, stored)
        before = np.concatenate([known, np.arange(len(known), len(units))])
        return joined_by_cosine(units, before, len(known), self.threshold), None

    def _scores(self, index: ExampleIndex, units: Points, keepers: Rows) -> Scores:
        similarity = cosines(units, keepers, np.arange(len(units)))
        remedy = "look at the embedding, or raise the threshold"
        return keeper_scores(index, keepers, similarity, self.alarm_share, remedy)


def _state(embedding: NDArray[np.floating], keepers: Rows, graph: Array | None) -> dict[str, Array]:
    state: dict[str, Array] = {"embedding": embedding, "keepers": keepers}
    return state if graph is None else {**state, "graph": graph}
