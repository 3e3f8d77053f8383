"""Cosine maximum: how near an example is to the nearest of some targets.

The plain form of embedding retrieval that ranks are compared with in Mizrahi et al., "Language Models Improve When
Pretraining Data Matches Target Tasks", 2025, https://arxiv.org/abs/2507.12466: an example near many others stands
high for many targets.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from curation.best_rank import nearest_documents
from curation.latent_space import MOST_FITTED, fitted_space
from curation.ngram_space import counts_of, rarity, weighted
from curation.scorer import Scorer
from curation.targets import at_most, check_directed, check_drawing, equally_drawn, parts_of
from storage.values import HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class CosineMax(Scorer):
    """Cosine, in [-1, 1], of each row to the nearest target; column `target`: that target's id.

    Reads signals `ngram_counts` (N, B) and `benchmark` (N,), -1 for documents. Texts are compared as `betr` compares
    them, by weighted n-grams in few dimensions; a text without n-grams has cosine 0 to all.
    """

    reads: ClassVar[tuple[str, ...]] = ("ngram_counts", "benchmark")
    high_means: ClassVar[HighMeans] = "similar"
    per_example: ClassVar[bool] = False
    revision: ClassVar[int] = 2

    per_benchmark: int | None = None
    """Targets drawn from each benchmark, at least 1; None is as many as the smallest one has."""
    num_dimensions: int = 512
    """Dimensions in which texts are compared, at least 1 and fewer than the buckets counted."""
    seed: int = 0
    """Chooses the targets that are drawn, at least 0."""

    def __post_init__(self) -> None:
        if self.num_dimensions < 1:
            raise ValueError(f"num_dimensions must be at least 1, got {self.num_dimensions}")
        check_drawing(self.per_benchmark, self.seed)

    def __call__(self, signals: Signals) -> Scores:
        """Measure every row; of equally near targets the one with the smaller id is named."""
        counts, parts = counts_of(signals), parts_of(signals)
        targets = parts.targets[equally_drawn(parts.benchmarks, self.per_benchmark, self.seed)]
        rare, both = rarity(counts, parts.documents), np.concatenate([parts.documents, parts.targets])
        fitted = weighted(counts, at_most(parts.documents, MOST_FITTED, self.seed), rare)
        space = fitted_space(fitted, rare, self.num_dimensions, self.seed)
        vectors = space.coordinates(weighted(counts, both, rare))
        table = np.empty_like(vectors)
        table[both] = vectors
        check_directed(table, targets, signals.index.ids)
        nearest = nearest_documents(table, targets, table, 1)
        names = signals.index.ids.gather(pl.Series(targets[nearest.places[:, 0]])).to_numpy().astype(object)
        values = np.clip(nearest.cosines[:, 0], -1.0, 1.0)
        return Scores(index=signals.index, values=values, high_means=self.high_means, columns={"target": names})
