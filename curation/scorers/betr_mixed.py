"""BETR of two representations: documents ranked by an embedding, and scored by a classifier of their words.

Mizrahi, Lindbo Larsen, Allardice, Petryk, Gorokhov, Li, Fang, Gardner, Gunter, Dehghan, "Language Models Improve When
Pretraining Data Matches Target Tasks", 2025. https://arxiv.org/abs/2507.12466 Each target ranks the documents by cosine
similarity of a network's embeddings; a document's score is its best rank for any target, or a mean over all; a
classifier of words learns to tell the top share from the rest and scores every document.

Differs from the paper: the classifier is logistic regression on weighted n-grams in buckets, without case, where the
paper has fastText on words and pairs as they are written; every row has an embedding, also those that are not ranked;
equal ranks are ordered by the cosine to the target that gave them, then by id, where the paper gives no rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curation.betr import Aggregation, Ranked, check_ranking, drawn, labelled, rank_columns, ranked_by_embedding
from curation.linear_classifier import check_penalty
from curation.neighbors import embedding_of
from curation.ngram_space import check_buckets, classifier, counts_of, likelihood, rarity
from curation.scorer import Merge, MergingScorer
from curation.targets import check_drawing
from storage.values import Array, HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class BETRMixed(MergingScorer):
    """Probability in [0, 1] that a document is among those that the targets rank first, by its words.

    Reads signals `embedding` (N, D), which ranks, `ngram_counts` (N, B), which score, and `benchmark` (N,), -1 for
    documents. Targets and documents are ranked and the classifier is fitted on the rows of the start; rows that come
    later are scored by it, whatever their embedding. Columns: `rank`, best rank among the documents ranked (place in
    the order of means where those decide; one above the cutoff beyond it; 0 for rows that were not ranked), and
    `target`, id of the target that gave it, else empty.
    """

    reads: ClassVar[tuple[str, ...]] = ("embedding", "ngram_counts", "benchmark")
    high_means: ClassVar[HighMeans] = "similar"
    frozen_at_start: ClassVar[bool] = True

    top_share: float = 0.1
    """Share of the ranked documents that the classifier learns to recognise, in (0, 1); 0.1 in the paper."""
    aggregation: Aggregation = "max"
    """`max` takes the best rank, as the paper; `mean_log` and `mean_reciprocal` take means of log2(1 / rank) and
    1 / rank over all targets, which the paper found worse, and take far longer."""
    per_benchmark: int | None = None
    """Targets drawn from each benchmark, at least 1; None is as many as the smallest one has."""
    max_ranked: int = 100_000
    """Documents that are ranked at most, at least 2; of more, so many are drawn. The paper ranks 10 million."""
    penalty: float = 10.0
    """Weight of half the squared length of the classifier's coefficients, finite and above 0; higher is smoother."""
    seed: int = 0
    """Chooses what is drawn, at least 0."""

    def __post_init__(self) -> None:
        check_ranking(self.top_share, self.aggregation, self.max_ranked)
        check_drawing(self.per_benchmark, self.seed)
        check_penalty(self.penalty)

    def start(self, signals: Signals) -> Merge:
        """Rank the documents by embedding, fit the classifier on words, and score all rows by it."""
        embedding, counts = embedding_of(signals), counts_of(signals)
        given = drawn(signals, self.top_share, self.per_benchmark, self.max_ranked, self.seed)
        found = ranked_by_embedding(embedding, given, signals.index.ids, self.aggregation)
        rows, belongs = labelled(found.order, given.num_first, self.seed)
        state = classifier(counts, rows, belongs, rarity(counts, given.documents), self.penalty)
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
