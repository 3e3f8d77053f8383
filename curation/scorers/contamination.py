"""Contamination: how many long n-grams a document shares with examples of evaluation sets.

The check of Brown et al., "Language Models are Few-Shot Learners", NeurIPS 2020, appendix C,
https://arxiv.org/abs/2005.14165, as Mizrahi et al., 2025, https://arxiv.org/abs/2507.12466, use it before ranking:
n-grams that the pool has too often say nothing and are ignored.

Differs from the papers: documents are scored, and nothing is cut out of them.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.decontamination import Hashes, found_among
from curation.scorer import Scorer
from curation.targets import parts_of
from storage.values import Array, HighMeans, Scores, Signals

ROWS_AT_ONCE = 4096
"""Rows that are looked up together."""


@dataclass(frozen=True, kw_only=True)
class Contamination(Scorer):
    """N-grams of each row, repeats included, that an evaluation example has too; 0 is clean.

    Reads signals `ngram_hashes` (N, W), 0 where there is none, and `benchmark` (N,), -1 for documents and at least 0
    for evaluation examples. Column `target`: id of the example that has the first of them, the one with the smallest
    id of several; else empty.
    """

    reads: ClassVar[tuple[str, ...]] = ("ngram_hashes", "benchmark")
    high_means: ClassVar[HighMeans] = "similar"
    per_example: ClassVar[bool] = False
    all_targets: ClassVar[bool] = True

    most_in_pool: int = 10_000
    """N-grams that the documents have more often are ignored; at least 1. 10,000 in the paper."""

    def __post_init__(self) -> None:
        if self.most_in_pool < 1:
            raise ValueError(f"most_in_pool must be at least 1, got {self.most_in_pool}")

    def __call__(self, signals: Signals) -> Scores:
        """Look every n-gram up among those of the evaluation examples.

        Raises:
            ValueError: no evaluation example is long enough to have an n-gram.
        """
        hashes, parts = _hashes_of(signals), parts_of(signals)
        looked_for = hashes[parts.targets]
        known, firsts = np.unique(looked_for, return_index=True)
        owners = parts.targets[firsts // hashes.shape[1]]
        known, owners = known[known > 0], owners[known > 0]
        if not len(known):
            raise ValueError(f"none of the {len(parts.targets)} evaluation examples has an n-gram; lower its 'size'")
        occurrences = np.zeros(len(known), dtype=np.int64)
        for first in range(0, len(parts.documents), ROWS_AT_ONCE):
            block = hashes[parts.documents[first : first + ROWS_AT_ONCE]]
            occurrences += np.bincount(found_among(block.ravel(), known)[1], minlength=len(known))
        wanted = occurrences <= self.most_in_pool
        return self._scores(signals, hashes, known[wanted], owners[wanted])

    def _scores(self, signals: Signals, hashes: Hashes, known: Hashes, owners: NDArray[np.int64]) -> Scores:
        values, names = np.zeros(len(hashes)), np.full(len(hashes), "", dtype=object)
        for first in range(0, len(hashes), ROWS_AT_ONCE):
            block = hashes[first : first + ROWS_AT_ONCE]
            places, entries = found_among(block.ravel(), known)
            rows, begins, counts = np.unique(places // block.shape[1], return_index=True, return_counts=True)
            values[first + rows] = counts
            names[first + rows] = signals.index.ids.gather(pl.Series(owners[entries[begins]])).to_numpy()
        return Scores(index=signals.index, values=values, high_means=self.high_means, columns={"target": names})


def _hashes_of(signals: Signals) -> Array:
    hashes = signals["ngram_hashes"]
    if hashes.ndim != 2 or hashes.dtype != np.uint64:
        raise ValueError(f"signal 'ngram_hashes' must be (N, W) of uint64, got {hashes.shape} of {hashes.dtype}")
    return hashes
