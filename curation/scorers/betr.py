"""BETR: likeness to the documents that examples of benchmarks rank first, by their words.

Mizrahi, Lindbo Larsen, Allardice, Petryk, Gorokhov, Li, Fang, Gardner, Gunter, Dehghan, "Language Models Improve When
Pretraining Data Matches Target Tasks", 2025. https://arxiv.org/abs/2507.12466 Each target ranks the documents by cosine
similarity; a document's score is its best rank for any target, or a mean over all; a classifier learns to tell the
top share from the rest and scores every document.

Differs from the paper: texts are embedded by weighted n-grams in few dimensions instead of a network; the
classifier is logistic regression on the weighted n-grams, not fastText;
equal ranks are ordered by the cosine to the target that gave them, then by id, where the paper gives no rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.betr import Aggregation, Ranked, check_ranking, drawn, labelled, rank_columns, ranked
from curation.latent_space import MOST_FITTED, fitted_space
from curation.linear_classifier import check_penalty
from curation.ngram_space import check_buckets, classifier, counts_of, likelihood, rarity, weighted
from curation.scorer import Merge, MergingScorer
from curation.targets import at_most, check_directed, check_drawing
from storage.values import Array, HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class BETR(MergingScorer):
    """Probability in [0, 1] that a document is among those that the targets rank first.

    Reads signals `ngram_counts` (N, B) and `benchmark` (N,), -1 for documents. Targets and documents are ranked and the
    classifier is fitted on the rows of the start; rows that come later are scored by it. Columns: `rank`, best rank
    among the documents ranked (place in the order of means where those decide; one above the cutoff beyond it; 0 for
    rows that were not ranked), and `target`, id of the target that gave it, else empty.
    """

    reads: ClassVar[tuple[str, ...]] = ("ngram_counts", "benchmark")
    high_means: ClassVar[HighMeans] = "similar"
    frozen_at_start: ClassVar[bool] = True
    revision: ClassVar[int] = 2

    top_share: float = 0.1
    """Share of the ranked documents that the classifier learns to recognise, in (0, 1); 0.1 in the paper."""
    aggregation: Aggregation = "max"
    """`max` takes the best rank, as the paper; `mean_log` and `mean_reciprocal` take means of log2(1 / rank) and
    1 / rank over all targets, which the paper found worse, and take far longer."""
    per_benchmark: int | None = None
    """Targets drawn from each benchmark, at least 1; None is as many as the smallest one has."""
    max_ranked: int = 100_000
    """Documents that are ranked at most, at least 2; of more, so many are drawn. The paper ranks 10 million."""
    num_dimensions: int = 512
    """Dimensions in which texts are ranked, at least 1 and fewer than the buckets counted; they are found on at most
    20,000 of the documents."""
    penalty: float = 10.0
    """Weight of half the squared length of the classifier's coefficients, finite and above 0; higher is smoother."""
    seed: int = 0
    """Chooses what is drawn, at least 0."""

    def __post_init__(self) -> None:
        check_ranking(self.top_share, self.aggregation, self.max_ranked)
        if self.num_dimensions < 1:
            raise ValueError(f"num_dimensions must be at least 1, got {self.num_dimensions}")
        check_drawing(self.per_benchmark, self.seed)
        check_penalty(self.penalty)

    def start(self, signals: Signals) -> Merge:
        """Rank the documents, fit the classifier, and score all rows by it."""
        counts = counts_of(signals)
        documents, targets, num_first = drawn(signals, self.top_share, self.per_benchmark, self.max_ranked, self.seed)
        rare, both = rarity(counts, documents), np.concatenate([documents, targets])
        fitted = weighted(counts, at_most(documents, MOST_FITTED, self.seed), rare)
        space = fitted_space(fitted, rare, self.num_dimensions, self.seed)
        table = space.coordinates(weighted(counts, both, rare))
        places = np.arange(len(both))
        check_directed(table, places[len(documents) :], signals.index.ids.gather(both))
        found = ranked(table, places[: len(documents)], places[len(documents) :], self.aggregation, num_first)
        found = Ranked(both[found.order], found.ranks, np.where(found.targets >= 0, both[found.targets], -1))
        rows, belongs = labelled(found.order, num_first, self.seed)
        state = classifier(counts, rows, belongs, rare, self.penalty)
        return Merge(state=state, new=self._scores(signals, state, found))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Score the new rows by the classifier of the start."""
        check_buckets(counts_of(signals), state["coefficients"])
        return Merge(state=state, new=self._scores(signals, state, None))

    def _scores(self, signals: Signals, state: Mapping[str, Array], found: Ranked | None) -> Scores:
        return Scores(
            index=signals.index,
            values=likelihood(signals["ngram_counts"], state),
            high_means=self.high_means,
            columns=rank_columns(signals.index.ids, found),
        )
