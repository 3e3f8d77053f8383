"""Nearest-neighbour disagreement: labels that those of the most similar examples contradict.

Wilson, "Asymptotic Properties of Nearest Neighbor Rules Using Edited Data", IEEE Transactions on
Systems, Man, and Cybernetics 2, 1972, whose rule drops a point that its neighbours outvote.
https://doi.org/10.1109/TSMC.1972.4309137

Differs from the paper: the share of other labels is the score, and what is dropped is the selector's choice.
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


def disagreement(labels: NDArray[np.integer], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) share of each example's neighbours, (N, k) rows, that bear another label."""
    share: NDArray[np.float64] = np.count_nonzero(labels[rows] != labels[:, None], axis=1) / rows.shape[1]
    return share


def majority(labels: NDArray[np.integer], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most frequent label among each example's neighbours, and its share of them.

    Returns:
        (N,) labels, of equally frequent ones the example's own if it is one of them, else the smallest; (N,) shares.
    """
    around = labels[rows]
    counts = np.stack([np.count_nonzero(around == column[:, None], axis=1) for column in around.T], axis=1)
    most = counts.max(axis=1)
    tied = np.where(counts == most[:, None], around, labels.max() + 1)
    own = (tied == labels[:, None]).any(axis=1)
    return np.where(own, labels, tied.min(axis=1)).astype(np.int64), most / rows.shape[1]


@dataclass(frozen=True, kw_only=True)
class KNNDisagreement(MergingScorer):
    """Share of the k nearest other examples in signal `embedding` (N, D) that bear another label.

    Columns: `suggested_label`, the label most of them bear, and `confidence`, their share. Of a learner's seeds each is
    scored by itself; the score is their mean, and the neighbours of all are asked for the label. Further rows change
    those earlier ones to which they are near. State are embeddings, labels, and the neighbour lists or the graph.
    """

    reads: ClassVar[tuple[str, ...]] = ("embedding", "label")
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
        labels = _labels(signals)
        found, state = started(signals.index, embeddings_of(signals), self.num_neighbors, self.search)
        return Merge(state={**state, "label": labels}, new=self._scores(signals.index, labels, found))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Compare the new rows with all, and merge them into the lists of the old ones."""
        index, labels = joined_index(earlier.index, signals.index), np.concatenate([state["label"], _labels(signals)])
        found, state = grown(state, index, embeddings_of(signals), self.num_neighbors, self.search)
        return parted(earlier, self._scores(index, labels, found), {**state, "label": labels})

    def _scores(self, index: ExampleIndex, labels: NDArray[np.int64], found: list[Neighbors]) -> Scores:
        suggested, confidence = majority(labels, np.concatenate([one.rows for one in found], axis=1))
        return mean_over_seeds(
            index,
            [disagreement(labels, one.rows) for one in found],
            high_means=self.high_means,
            columns={"suggested_label": suggested, "confidence": confidence},
        )


def _labels(signals: Signals) -> NDArray[np.int64]:
    labels = signals["label"]
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"signal 'label' must hold integers, got {labels.dtype}")
    missing = np.flatnonzero(labels < 0)
    if len(missing):
        raise ValueError(
            f"{len(missing)} of {len(labels)} examples bear no label (first: {signals.index[int(missing[0])]!r})"
        )
    return labels.astype(np.int64)
