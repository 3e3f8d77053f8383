import numpy as np
import pytest

from curation.betr import labelled, ranked
from curation.examiners.ngram_counts import NgramCounts
from curation.examiners.num_tokens import NumTokens
from curation.ngram_space import rarity, weighted
from curation.scorers.betr import BETR
from curation.scorers.betr_embedded import BETREmbedded
from curation.scorers.cosine_max import CosineMax
from curation.scorers.dsir import DSIR, log_ratios, log_weights
from curation.scorers.target_classifier import TargetClassifier
from curation.selectors.token_budget import TokenBudget, within_budget
from curation.targets import equally_drawn
from storage.index import ExampleIndex
from storage.values import Scores, Signals

SCIENCE, SEA, GLUE = ("atom heat cell acid force", "sail mast tide crew harbour", "the of and a to in is it")


def pool(num_documents: int = 200, num_targets: int = 24, seed: int = 0) -> tuple[Signals, np.ndarray]:
    """Texts of which the first half of the documents, and all targets, are about science; counted by words."""
    rng = np.random.default_rng(seed)
    about = np.arange(num_documents) < num_documents // 2
    texts = [
        " ".join([*rng.choice((SCIENCE if one else SEA).split(), 4), *rng.choice(GLUE.split(), 30)]) for one in about
    ]
    texts += [" ".join([*rng.choice(SCIENCE.split(), 3), *rng.choice(GLUE.split(), 4)]) for _ in range(num_targets)]
    index = ExampleIndex(
        [*(f"pool:{one:04}" for one in range(num_documents)), *(f"b:{one}" for one in range(num_targets))]
    )
    arrays = NgramCounts(column="text", sizes=(1,), num_buckets=512)(index, {"text": np.array(texts, dtype=object)})
    benchmark = np.concatenate([np.full(num_documents, -1), np.arange(num_targets) % 2])
    return Signals(index=index, arrays={**arrays, "benchmark": benchmark}), about


SIGNALS, ABOUT = pool()


@pytest.mark.parametrize("scorer", [BETR(num_dimensions=16), TargetClassifier(), CosineMax(num_dimensions=16), DSIR()])
def test_planted_documents_score_above_the_others(scorer):
    values = scorer(SIGNALS).values[: len(ABOUT)]
    assert np.mean(values[ABOUT][:, None] > values[~ABOUT]) > 0.95


def test_a_document_names_the_target_that_ranks_it_first():
    scores = BETR(num_dimensions=16)(SIGNALS)
    ranks, names = scores.columns["rank"][: len(ABOUT)], scores.columns["target"][: len(ABOUT)]
    assert ranks.min() == 1
    assert all(name.startswith("b:") for name in names[ranks <= 16])
    assert set(names[ranks > 16]) == {""}
    assert scores.columns["rank"][len(ABOUT) :].tolist() == [0] * 24


def test_only_documents_that_are_drawn_are_ranked_and_all_are_scored():
    scores = BETR(num_dimensions=16, max_ranked=60)(SIGNALS)
    assert np.count_nonzero(scores.columns["rank"]) == 60
    values = scores.values[: len(ABOUT)]
    assert np.mean(values[ABOUT][:, None] > values[~ABOUT]) > 0.9


def test_rows_that_come_later_are_scored_by_the_classifier_of_the_start():
    scorer, (further, about) = BETR(num_dimensions=16), pool(60, 4, seed=1)
    later = Signals(
        index=ExampleIndex(f"new:{one}" for one in range(60)), arrays={"ngram_counts": further["ngram_counts"][:60]}
    )
    start = scorer.start(SIGNALS)
    new = scorer.extend(start.state, start.new, later).new
    assert np.mean(new.values[about][:, None] > new.values[~about]) > 0.9
    assert new.columns["rank"].tolist() == [0] * 60


@pytest.mark.parametrize("aggregation", ["max", "mean_log", "mean_reciprocal"])
def test_aggregations_find_what_is_planted_in_embeddings(aggregation):
    rng = np.random.default_rng(4)
    about = np.arange(90) < 30
    embedding = rng.normal(size=(100, 8)) + 4 * np.concatenate([about, np.ones(10)])[:, None] * np.eye(8)[0]
    index = ExampleIndex(f"row:{one:03}" for one in range(100))
    benchmark = np.where(np.arange(100) < 90, -1, 0)
    signals = Signals(index=index, arrays={"embedding": embedding.astype(np.float32), "benchmark": benchmark})
    values = BETREmbedded(aggregation=aggregation, top_share=0.3)(signals).values[:90]
    assert np.mean(values[about][:, None] > values[~about]) > 0.85


def test_orders_by_hand():
    # Best ranks 1, 1, 2, 3; means of log2(1 / rank) -1, -0.5, -1.5, -1.585. Rows 0 and 1 are the targets.
    table = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0.42], [0.8, 0.7, 0], [0.1, 0.6, 0.79], [0.2, 0.5, 0.84]])
    documents, targets = np.array([2, 3, 4, 5]), np.array([0, 1])
    best = ranked(table, documents, targets, "max", 2)
    assert best.order.tolist() == [2, 3, 4, 5]
    assert best.ranks.tolist() == [1, 1, 2, 3]
    assert best.targets.tolist() == [0, 1, 1, 1]
    means = ranked(table, documents, targets, "mean_log", 2)
    assert means.order.tolist() == [3, 2, 4, 5]
    assert means.ranks.tolist() == [1, 2, 3, 4]


def test_the_classifier_learns_from_as_many_others_as_there_are_of_the_top():
    order = np.array([7, 3, 9, 1, 5, 8, 2])
    rows, belongs = labelled(order, 2, seed=0)
    assert rows[:2].tolist() == [7, 3]
    assert belongs.tolist() == [True, True, False, False]
    assert set(rows[2:]) < {9, 1, 5, 8, 2}
    assert labelled(order, 5, seed=0)[0][5:].tolist() == [8, 2]


def test_every_benchmark_has_as_many_targets_as_the_smallest():
    benchmarks = np.array([4] * 10 + [0] * 3 + [4] * 5)
    drawn = equally_drawn(benchmarks, None, seed=1)
    assert np.bincount(benchmarks[drawn]).tolist() == [3, 0, 0, 0, 3]
    assert len(set(drawn)) == 6
    assert np.bincount(benchmarks[equally_drawn(benchmarks, 2, seed=1)]).tolist() == [2, 0, 0, 0, 2]
    with pytest.raises(ValueError, match="per_benchmark is 4, but the smallest benchmark has 3 targets; lower it"):
        equally_drawn(benchmarks, 4, seed=1)


def test_weights_of_ngrams_by_hand():
    counts = np.array([[1, 0, 3], [1, 1, 0], [0, 0, 0], [2, 0, 0]], dtype=np.uint16)
    rare = rarity(counts, np.array([0, 1, 2]))
    # Two, one and one of three documents: 1 + ln(4/3) and twice 1 + ln(4/2).
    np.testing.assert_allclose(rare, [1 + np.log(4 / 3), 1 + np.log(2), 1 + np.log(2)], rtol=1e-15)
    rows = weighted(counts, np.arange(4), rare).toarray()
    first = np.array([1.2876820724517809, 0.0, (1 + np.log(3)) * 1.6931471805599453])
    np.testing.assert_allclose(rows[0], first / np.sqrt((first**2).sum()), rtol=1e-14)
    np.testing.assert_allclose(rows[[2, 3]], [[0, 0, 0], [1, 0, 0]], rtol=1e-15)


def test_log_weights_by_hand():
    # Shares (3/6, 1/6, 2/6) among the targets and (2/8, 4/8, 2/8) in the pool, each with one more than was counted.
    ratios = log_ratios(np.array([2, 0, 1]), np.array([1, 3, 1]), 1.0)
    np.testing.assert_allclose(ratios, np.log([2, 1 / 3, 4 / 3]), rtol=1e-14)
    counts = np.array([[1, 0, 2], [0, 1, 0]], dtype=np.uint16)
    np.testing.assert_allclose(log_weights(counts, ratios), np.log([2 * (4 / 3) ** 2, 1 / 3]), rtol=1e-14)


def test_ngrams_are_counted_by_bucket():
    examine = NgramCounts(column="text", sizes=(1, 2), num_buckets=4096)
    index = ExampleIndex(["a", "b", "c", "d"])
    texts = np.array(["one Two  ONE", "two one one", "", "three"], dtype=object)
    counts = examine(index, {"text": texts})["ngram_counts"]
    assert counts.sum(axis=1).tolist() == [5, 5, 0, 2]
    single = NgramCounts(column="text", sizes=(1,), num_buckets=4096)(index, {"text": texts})["ngram_counts"]
    assert np.array_equal(single[0], single[1])
    assert sorted(single[0][single[0] > 0]) == [1, 2]


def test_a_bucket_that_overflows_is_refused():
    examine, text = NgramCounts(column="text", sizes=(1,), num_buckets=2), "x " * 70_000
    with pytest.raises(ValueError, match="'b' has 70000 n-grams in one bucket, above 65535"):
        examine(ExampleIndex(["a", "b"]), {"text": np.array(["x", text], dtype=object)})


def test_tokens_are_words_or_characters():
    columns = {"text": np.array([" a  bc\nd ", ""], dtype=object)}
    assert NumTokens(column="text")(ExampleIndex(["a", "b"]), columns)["num_tokens"].tolist() == [3, 0]
    assert NumTokens(column="text", unit="char")(ExampleIndex(["a", "b"]), columns)["num_tokens"].tolist() == [9, 0]


def budgeted(selector: TokenBudget, values: np.ndarray, num_tokens: np.ndarray) -> np.ndarray:
    index = ExampleIndex(f"row:{one:05}" for one in range(len(values)))
    signals = Signals(index=index, arrays={"num_tokens": num_tokens})
    scores = {"betr": Scores(index=index, values=values, high_means="similar")}
    return selector(signals, scores, np.random.default_rng(0)).kept


def test_a_budget_of_tokens_by_hand():
    values, num_tokens = np.array([0.1, 0.9, 0.5, 0.9]), np.array([40, 10, 30, 20])
    # From the top: 10, 30 and 60 of 100 tokens; 0.6 takes three and 0.59 two.
    assert budgeted(TokenBudget(score="betr", token_fraction=0.6), values, num_tokens).tolist() == [
        False,
        True,
        True,
        True,
    ]
    kept = budgeted(TokenBudget(score="betr", token_fraction=0.59), values, num_tokens)
    assert kept.tolist() == [False, True, False, True]
    kept = budgeted(TokenBudget(score="betr", token_fraction=0.29), values, num_tokens)
    assert kept.tolist() == [False, True, False, False]


@pytest.mark.parametrize("token_fraction", [0.03, 0.1, 0.5, 1.0])
def test_the_kept_tokens_are_the_budget_within_one_document(token_fraction):
    rng = np.random.default_rng(0)
    values, num_tokens = rng.integers(20, size=500).astype(float), rng.integers(1, 90, size=500)
    kept = budgeted(TokenBudget(score="betr", token_fraction=token_fraction), values, num_tokens)
    left = token_fraction * num_tokens.sum() - num_tokens[kept].sum()
    assert -1e-6 <= left < 90
    assert values[kept].min() >= values[~kept].max(initial=-1)


def test_a_calibration_sample_gives_a_threshold_that_holds_for_all():
    rng = np.random.default_rng(1)
    values, num_tokens = rng.random(5000), rng.integers(1, 90, size=5000)
    kept = budgeted(TokenBudget(score="betr", token_fraction=0.2, calibration=1000), values, num_tokens)
    assert abs(num_tokens[kept].sum() / num_tokens.sum() - 0.2) < 0.03
    assert values[kept].min() > values[~kept].max()
    whole = budgeted(TokenBudget(score="betr", token_fraction=0.2, calibration=5000), values, num_tokens)
    assert np.array_equal(whole, budgeted(TokenBudget(score="betr", token_fraction=0.2), values, num_tokens))


def test_a_share_that_rounding_puts_below_a_whole_number_is_met():
    assert within_budget(np.ones(100, dtype=np.int64), np.arange(100), 0.29) == 29


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_share": 1.0}, r"top_share must be in \(0, 1\), got 1.0"),
        ({"aggregation": "median"}, "aggregation must be one of max, mean_log, mean_reciprocal, got 'median'"),
        ({"per_benchmark": 0}, "per_benchmark must be at least 1, got 0"),
        ({"max_ranked": 1}, "max_ranked must be at least 2, got 1"),
        ({"num_dimensions": 0}, "num_dimensions must be at least 1, got 0"),
        ({"penalty": 0.0}, "penalty must be finite and above 0, got 0.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BETR(**settings)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="num_dimensions must be below the 512 buckets counted, got 512"):
        BETR(num_dimensions=512)(SIGNALS)
    with pytest.raises(ValueError, match="there are 200 documents and 0 targets; both are needed"):
        BETR(num_dimensions=16)(SIGNALS.take(np.arange(200)))
    counts = SIGNALS["ngram_counts"].copy()
    counts[[201, 205]] = 0
    empty = Signals(index=SIGNALS.index, arrays={"ngram_counts": counts, "benchmark": SIGNALS["benchmark"]})
    with pytest.raises(ValueError, match=r"2 of 24 targets have an embedding of zeros \(first: 'b:1'\)"):
        BETR(num_dimensions=16)(empty)
    with pytest.raises(ValueError, match=r"top_share 0\.999 of 200 documents is all of them"):
        BETR(num_dimensions=16, top_share=0.999)(SIGNALS)
