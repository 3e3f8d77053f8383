import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from curation.betr import labelled
from curation.scorer import scores_at
from curation.scorers.betr import BETR
from curation.scorers.betr_embedded import BETREmbedded
from curation.scorers.betr_mixed import BETRMixed
from storage.index import ExampleIndex
from storage.values import Signals

RED, BLUE, BOTH = [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]


def signals_of(embedding, counts, benchmark) -> Signals:
    ids = [f"{'pool' if own < 0 else 'b'}:{row:04}" for row, own in enumerate(benchmark)]
    arrays = {
        "embedding": np.array(embedding, dtype=np.float32),
        "ngram_counts": np.array(counts, dtype=np.uint16),
        "benchmark": np.array(benchmark),
    }
    return Signals(index=ExampleIndex(ids), arrays=arrays)


def pool(num_documents: int = 150, num_targets: int = 12, seed: int = 0) -> Signals:
    """Rows of which a third, and the targets, point one way; words follow another third."""
    rng = np.random.default_rng(seed)
    rows = np.arange(num_documents + num_targets)
    documents = rows < num_documents
    near, worded = (rows % 3 == 0) | ~documents, rows % 3 == 1
    embedding = rng.normal(size=(len(rows), 6)) + 4 * near[:, None] * np.eye(6)[0]
    counts = rng.poisson(0.4 + 0.8 * worded[:, None] * (np.arange(40) < 10))
    return signals_of(embedding, counts, np.where(documents, -1, rows % 2))


# Rows 0 to 3 are documents, 4 and 5 targets. The embedding of the targets is that of the first two documents, their
# words are those of the last two.
TINY = signals_of(
    [[1, 0, 0], [0, 1, 0], [0.6, 0, 0.8], [0, 0, 1], [1, 0, 0], [0, 1, 0]],
    [RED, RED, BLUE, BLUE, BLUE, BLUE],
    [-1, -1, -1, -1, 0, 0],
)
SIGNALS = pool()


def test_the_embedding_decides_the_rank_and_words_decide_the_score():
    # Cosines to the first target are 1, 0, 0.6, 0 and to the second 0, 1, 0, 0, so that the first two documents are to
    # be recognised. Both words are in 2 of 4 documents, a vector has length 1 and so is (1, 0) or (0, 1): by symmetry
    # the coefficients are w and -w, where 4 sigmoid(-w) = 2 penalty w. For penalty 0.5 / ln 3 that is w = ln 3.
    scorer = BETRMixed(top_share=0.5, penalty=0.5 / np.log(3))
    merge = scorer.start(TINY)
    assert merge.new.columns["rank"].tolist() == [1, 1, 2, 4, 0, 0]
    assert merge.new.columns["target"].tolist() == ["b:0004", "b:0005", "b:0004", "b:0004", "", ""]
    np.testing.assert_allclose(merge.new.values, [0.75, 0.75, 0.25, 0.25, 0.25, 0.25], atol=1e-4)
    np.testing.assert_allclose(merge.state["coefficients"], [np.log(3), -np.log(3), 0, 0], atol=1e-3)
    # The targets' way with the other word, no way at all with the targets' word, and both words.
    later = signals_of([[1, 0, 0], [0, 0, 0], [0, 0, 1]], [BLUE, RED, BOTH], [-1, -1, -1])
    new = scorer.extend(merge.state, merge.new, later).new
    np.testing.assert_allclose(new.values, [0.25, 0.75, 0.5], atol=1e-4)
    assert new.columns["rank"].tolist() == [0, 0, 0]


def test_by_words_alone_the_same_documents_come_in_the_other_order():
    found = BETR(top_share=0.5, num_dimensions=2)(TINY)
    assert found.values[:4].argsort(kind="stable").tolist() == [0, 1, 2, 3]
    assert found.columns["rank"].tolist() == [3, 4, 1, 2, 0, 0]


@pytest.mark.parametrize(
    "settings", [{}, {"aggregation": "mean_log"}, {"top_share": 0.3, "max_ranked": 60, "per_benchmark": 2, "seed": 5}]
)
def test_ranks_are_those_of_the_same_embedding_classified_by_itself(settings):
    mixed, embedded = BETRMixed(**settings)(SIGNALS), BETREmbedded(**settings)(SIGNALS)
    for name in ("rank", "target"):
        np.testing.assert_array_equal(mixed.columns[name], embedded.columns[name])
    assert not np.array_equal(mixed.values, embedded.values)


@pytest.mark.parametrize("max_ranked", [60, 1000])
def test_scores_are_those_of_scikit_learn_on_the_weighted_words_of_the_labelled_rows(max_ranked):
    scores = BETRMixed(top_share=0.3, max_ranked=max_ranked, penalty=0.7, seed=3)(SIGNALS)
    documents = np.flatnonzero(scores.columns["rank"])
    targets = np.flatnonzero(SIGNALS["benchmark"] >= 0)
    directed = SIGNALS["embedding"] / np.linalg.norm(SIGNALS["embedding"], axis=1, keepdims=True)
    best = {}
    for target in targets:
        order = sorted(documents, key=lambda row, target=target: -float(directed[row] @ directed[target]))
        for rank, row in enumerate(order, start=1):
            best[row] = min(best.get(row, (np.inf, 0)), (rank, -float(directed[row] @ directed[target])))
    beyond = scores.columns["rank"].max()
    best = {row: one if one[0] < beyond else (beyond, 0.0) for row, one in best.items()}
    assert [best[row][0] for row in documents] == scores.columns["rank"][documents].tolist()
    order = np.array(sorted(documents, key=best.get))
    rows, belongs = labelled(order, int(np.ceil(0.3 * len(documents))), 3)
    weigh = TfidfTransformer(sublinear_tf=True).fit(SIGNALS["ngram_counts"][documents])
    model = LogisticRegression(C=1 / 0.7, max_iter=1000)
    model.fit(weigh.transform(SIGNALS["ngram_counts"][rows]), belongs)
    expected = model.predict_proba(weigh.transform(SIGNALS["ngram_counts"]))[:, 1]
    # Sums in another order may end the solver's steps elsewhere within its tolerance.
    np.testing.assert_allclose(scores.values, expected, atol=1e-5)


def test_later_rows_have_the_same_bits_however_they_are_cut_and_whatever_their_embedding():
    start, further = BETRMixed().start(SIGNALS), pool(90, 1, seed=1)
    counts = further["ngram_counts"][:90]
    later = Signals(
        index=ExampleIndex(f"new:{row}" for row in range(90)),
        arrays={"embedding": further["embedding"][:90], "ngram_counts": counts},
    )
    whole = BETRMixed().extend(start.state, start.new, later).new
    for cut in (1, 37):
        parts = [later.take(np.arange(cut)), later.take(np.arange(cut, 90))]
        values = [BETRMixed().extend(start.state, start.new, part).new.values for part in parts]
        np.testing.assert_array_equal(np.concatenate(values), whole.values)
    wider = Signals(index=later.index, arrays={**later.arrays, "embedding": np.zeros((90, 9), dtype=np.float32)})
    np.testing.assert_array_equal(BETRMixed().extend(start.state, start.new, wider).new.values, whole.values)
    again = SIGNALS.take(np.arange(20))
    np.testing.assert_array_equal(
        BETRMixed().extend(start.state, start.new, again).new.values, scores_at(start.new, np.arange(20)).values
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_share": 0.0}, r"top_share must be in \(0, 1\), got 0.0"),
        ({"aggregation": "median"}, "aggregation must be one of max, mean_log, mean_reciprocal, got 'median'"),
        ({"per_benchmark": 0}, "per_benchmark must be at least 1, got 0"),
        ({"max_ranked": 1}, "max_ranked must be at least 2, got 1"),
        ({"penalty": -1.0}, r"penalty must be finite and above 0, got -1\.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BETRMixed(**settings)


def test_what_cannot_be_ranked_or_scored_is_refused():
    start = BETRMixed().start(SIGNALS)
    narrow = Signals(index=SIGNALS.index, arrays={**SIGNALS.arrays, "ngram_counts": SIGNALS["ngram_counts"][:, :39]})
    with pytest.raises(ValueError, match="signal 'ngram_counts' has 39 buckets, but there were 40 before"):
        BETRMixed().extend(start.state, start.new, narrow)
    shares = Signals(index=SIGNALS.index, arrays={**SIGNALS.arrays, "ngram_counts": SIGNALS["embedding"]})
    with pytest.raises(ValueError, match=r"'ngram_counts' must be \(N, B\) of unsigned integers, got \(162, 6\)"):
        BETRMixed()(shares)
    embedding = SIGNALS["embedding"].copy()
    embedding[[151, 160]] = 0
    empty = Signals(index=SIGNALS.index, arrays={**SIGNALS.arrays, "embedding": embedding})
    with pytest.raises(ValueError, match=r"2 of 12 targets have an embedding of zeros \(first: 'b:0151'\)"):
        BETRMixed()(empty)
    with pytest.raises(ValueError, match="there are 150 documents and 0 targets; both are needed"):
        BETRMixed()(SIGNALS.take(np.arange(150)))
