import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from curation import confident_joint
from curation.confident_joint import (
    calibrated_counts,
    confident_classes,
    confident_counts,
    confident_thresholds,
    estimated_joint,
    exact_sums,
)
from curation.label_filters import LABEL_FILTERS, Evidence, at_least_one_kept, label_issues, lowest, normalized_margin
from curation.scorers.confident_learning import ConfidentLearning
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import planted_flips


def two_classes() -> tuple[np.ndarray, np.ndarray]:
    first = np.array([0.9, 0.8, 0.2, 0.1, 0.3, 0.9])
    return np.stack([first, 1 - first], axis=1), np.array([0, 0, 0, 1, 1, 1])


def evidence(probs: np.ndarray, labels: np.ndarray) -> Evidence:
    return Evidence(probs=probs, labels=labels, id_ranks=np.arange(len(labels)))


def noisy(seed: int, *, num_examples: int = 80, num_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clean = rng.integers(num_classes, size=num_examples)
    labels = np.where(rng.random(num_examples) < 0.3, rng.integers(num_classes, size=num_examples), clean)
    odds = np.exp(rng.normal(size=(num_examples, num_classes)) + 2 * np.eye(num_classes)[clean])
    return odds / odds.sum(axis=1, keepdims=True), labels


def signals_of(probs: np.ndarray, labels: np.ndarray, epochs: tuple[int, ...] = ()) -> Signals:
    return Signals(
        index=ExampleIndex(f"world:{number:04}" for number in range(len(labels))),
        arrays={"oof_probs": probs, "label": labels},
        epochs={"oof_probs": epochs} if epochs else {},
    )


def test_six_examples_worked_out_by_hand():
    probs, labels = two_classes()
    # Means of the label's probability: (0.9 + 0.8 + 0.2) / 3 and (0.9 + 0.7 + 0.1) / 3.
    thresholds = confident_thresholds(probs, labels)
    np.testing.assert_allclose(thresholds, [1.9 / 3, 1.7 / 3], rtol=1e-12)
    confident = confident_classes(probs, thresholds)
    assert confident.tolist() == [0, 0, 1, 1, 1, 0]
    assert confident_counts(labels, confident, 2).tolist() == [[2, 1], [1, 2]]
    np.testing.assert_allclose(estimated_joint(probs, labels), [[2 / 6, 1 / 6], [1 / 6, 2 / 6]], rtol=1e-12)
    for rule in LABEL_FILTERS:
        assert np.flatnonzero(label_issues(evidence(probs, labels), rule)).tolist() == [2, 5], rule


def test_the_scorer_flags_suggests_and_says_how_sure_it_is():
    probs, labels = two_classes()
    scores = ConfidentLearning()(signals_of(probs, labels))
    np.testing.assert_allclose(scores.values, [0.9, 0.8, 0.2, 0.9, 0.7, 0.1], rtol=1e-12)
    assert scores.columns["flagged"].tolist() == [False, False, True, False, False, True]
    assert scores.columns["suggested_label"].tolist() == [0, 0, 1, 1, 1, 0]
    np.testing.assert_allclose(scores.columns["confidence"], [0.9, 0.8, 0.8, 0.9, 0.7, 0.9], rtol=1e-12)
    assert scores.standard_error is None


def test_the_normalized_margin_by_hand():
    # (0.2 - 0.5 + 1) / 2 = 0.35 and (0.5 - 0.3 + 1) / 2 = 0.6.
    probs = np.array([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
    np.testing.assert_allclose(normalized_margin(evidence(probs, np.array([0, 1]))), [0.35, 0.6], rtol=1e-12)
    scores = ConfidentLearning(quality="normalized_margin")(signals_of(probs, np.array([0, 1])))
    np.testing.assert_allclose(scores.values, [0.35, 0.6], rtol=1e-12)


# Rows flagged by cleanlab 2.9.0, `find_label_issues(labels, probs, filter_by=rule)`, on the probabilities below.
CLEANLAB = {
    "prune_by_noise_rate": [0, 10, 15, 20, 25, 30, 33, 35, 40, 45, 50],
    "prune_by_class": [0, 10, 15, 20, 25, 29, 30, 35, 40, 45, 50],
    "both": [0, 10, 15, 20, 25, 30, 35, 40, 45, 50],
    "confident_learning": [0, 10, 15, 25, 30, 45, 50],
    "predicted_neq_given": [0, 7, 9, 10, 14, 15, 16, 20, 22, 25, 29, 30, 31, 33, 35, 40, 45, 46, 50, 53, 57],
    "low_normalized_margin": [10, 15, 25, 30, 35, 45, 50],
    "low_self_confidence": [10, 15, 30, 35, 40, 45, 50],
}


def waves() -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(60)
    clean = rows % 3
    labels = np.where(rows % 5 == 0, (clean + 1 + rows % 2) % 3, clean)
    logits = 2.5 * np.eye(3)[clean] + 1.6 * np.sin(1.3 * rows[:, None] + np.array([0.0, 2.0, 4.5]))
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("rule", LABEL_FILTERS)
def test_every_filter_flags_the_rows_that_cleanlab_flags(rule):
    assert np.flatnonzero(label_issues(evidence(*waves()), rule)).tolist() == CLEANLAB[rule]


# Examples, classes and seed of `drawn`; of each rule how many rows cleanlab 2.9.0 flags there, and a digest of which.
CLEANLAB_DRAWN = {
    (400, 2, 1): {
        "prune_by_noise_rate": (82, "276cc1e2b0eb"),
        "prune_by_class": (82, "276cc1e2b0eb"),
        "both": (82, "276cc1e2b0eb"),
        "confident_learning": (68, "9b531efea7be"),
        "predicted_neq_given": (94, "44e45e73bd1a"),
        "low_normalized_margin": (68, "707acafd6f46"),
        "low_self_confidence": (68, "707acafd6f46"),
    },
    (500, 4, 2): {
        "prune_by_noise_rate": (142, "b8f42cd717a0"),
        "prune_by_class": (165, "ed4213c342b6"),
        "both": (137, "5ca955436704"),
        "confident_learning": (124, "ab3f4a1e8333"),
        "predicted_neq_given": (205, "5ffe5e41cb76"),
        "low_normalized_margin": (124, "08c976e94b6d"),
        "low_self_confidence": (124, "b523a0378dc8"),
    },
    (600, 10, 3): {
        "prune_by_noise_rate": (217, "21968e524048"),
        "prune_by_class": (265, "2e04aae01462"),
        "both": (209, "ab369276ac55"),
        "confident_learning": (198, "a815e9ecee3b"),
        "predicted_neq_given": (319, "1b055003c893"),
        "low_normalized_margin": (198, "d3004be09d72"),
        "low_self_confidence": (198, "66aaeb434852"),
    },
}


def drawn(num_examples: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clean = rng.integers(num_classes, size=num_examples)
    labels = np.where(rng.random(num_examples) < 0.3, rng.integers(num_classes, size=num_examples), clean)
    odds = np.exp(2.0 * np.eye(num_classes)[clean] + 4 * rng.random((num_examples, num_classes)) - 2)
    return odds / odds.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("world", CLEANLAB_DRAWN)
@pytest.mark.parametrize("rule", LABEL_FILTERS)
def test_every_filter_flags_the_rows_that_cleanlab_flags_among_many(world, rule):
    found = label_issues(evidence(*drawn(*world)), rule)
    digest = hashlib.sha256(np.packbits(found).tobytes()).hexdigest()[:12]
    assert (int(found.sum()), digest) == CLEANLAB_DRAWN[world][rule]


def test_the_calibrated_counts_are_those_of_cleanlab():
    probs, labels = waves()
    counts = confident_counts(labels, confident_classes(probs, confident_thresholds(probs, labels)), 3)
    # `compute_confident_joint` of cleanlab 2.9.0 without and with calibration.
    assert counts.tolist() == [[8, 1, 1], [2, 11, 0], [2, 1, 10]]
    assert calibrated_counts(counts, np.bincount(labels)).tolist() == [[16, 2, 2], [3, 17, 0], [3, 2, 15]]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2)), max_size=40))
def test_sums_by_part_are_those_of_fsum(pairs):
    values = np.array([value for value, _ in pairs], dtype=np.float64)
    parts = np.array([part for _, part in pairs], dtype=np.int64)
    expected = [math.fsum(values[parts == part]) for part in range(3)]
    assert exact_sums(values, parts, 3) == expected


def test_numbers_far_smaller_than_others_are_summed_to_the_last_digit():
    values = np.array([1.0, 2.0**-53, 2.0**-60, 5e-324, 0.1, 0.2])
    # Just above half of the last digit of 1: rounded up, where sums one by one would stay at 1.
    assert exact_sums(values, np.array([0, 0, 0, 0, 1, 1]), 2) == [1 + 2.0**-52, math.fsum([0.1, 0.2])]


def test_probabilities_that_are_not_contiguous_flag_alike():
    probs, labels = noisy(5)
    apart = np.repeat(probs, 2, axis=1)[:, ::2]
    for rule in LABEL_FILTERS:
        expected = label_issues(evidence(probs, labels), rule)
        np.testing.assert_array_equal(label_issues(evidence(apart, labels), rule), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_confident_joint_agrees_with_a_loop_over_examples(seed):
    probs, labels = noisy(seed)
    thresholds = [np.mean([p[k] for p, y in zip(probs, labels, strict=True) if y == k]) for k in range(4)]
    np.testing.assert_allclose(confident_thresholds(probs, labels), thresholds, rtol=1e-12)
    counts = np.zeros((4, 4), dtype=int)
    for p, y in zip(probs, labels, strict=True):
        reached = [k for k in range(4) if p[k] >= thresholds[k] - 1e-6]
        if len(reached) == 1:
            counts[y, reached[0]] += 1
        elif reached:
            counts[y, int(np.argmax(p))] += 1
    for k in range(4):
        counts[k, k] = max(counts[k, k], 1)
    found = confident_counts(labels, confident_classes(probs, confident_thresholds(probs, labels)), 4)
    np.testing.assert_array_equal(found, counts)
    calibrated = calibrated_counts(found, np.bincount(labels, minlength=4))
    np.testing.assert_array_equal(calibrated.sum(axis=1), np.bincount(labels, minlength=4))
    exact = counts / counts.sum(axis=1, keepdims=True) * np.bincount(labels, minlength=4)[:, None]
    assert np.abs(calibrated - exact).max() < 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_filters_agree_with_sorting_whole_classes(seed):
    probs, labels = noisy(seed)
    known = evidence(probs, labels)
    counts = known.prune_counts
    by_class, by_rate = set(), set()
    for y in range(4):
        rows = [i for i in range(len(labels)) if labels[i] == y]
        by_class.update(sorted(rows, key=lambda i: (probs[i, y], i))[: max(0, len(rows) - counts[y, y])])
        for k in set(range(4)) - {y}:
            margins = {i: probs[i, y] - probs[i, k] for i in rows}
            by_rate.update(sorted(rows, key=lambda i: (margins[i], i))[: counts[y, k]])
    contradicted = set(np.flatnonzero(probs.argmax(axis=1) != labels).tolist())
    assert set(np.flatnonzero(label_issues(known, "prune_by_class")).tolist()) == by_class & contradicted
    assert set(np.flatnonzero(label_issues(known, "prune_by_noise_rate")).tolist()) == by_rate & contradicted
    assert set(np.flatnonzero(label_issues(known, "both")).tolist()) == by_class & by_rate & contradicted


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(LABEL_FILTERS))
def test_renaming_classes_changes_nothing_but_ties_of_rounding(seed, rule):
    probs, labels = noisy(seed, num_examples=300)
    names = np.random.default_rng(seed).permutation(4)
    plain = label_issues(evidence(probs, labels), rule)
    renamed = label_issues(evidence(probs[:, np.argsort(names)], names[labels]), rule)
    assert (plain != renamed).sum() <= 4


def test_the_result_does_not_depend_on_the_size_of_a_block(monkeypatch):
    probs, labels = noisy(3)
    whole = [label_issues(evidence(probs, labels), rule) for rule in LABEL_FILTERS]
    monkeypatch.setattr(confident_joint, "BLOCK_ENTRIES", 28)
    for rule, expected in zip(LABEL_FILTERS, whole, strict=True):
        np.testing.assert_array_equal(label_issues(evidence(probs, labels), rule), expected)


def test_ties_at_a_cut_go_to_the_smaller_ids():
    values, ranks = np.array([0.5, 0.1, 0.5, 0.5, 0.9]), np.array([3, 4, 0, 1, 2])
    assert sorted(lowest(values, ranks, 2).tolist()) == [1, 2]
    assert sorted(lowest(values, ranks, 3).tolist()) == [1, 2, 3]
    assert len(lowest(values, ranks, 9)) == 5


def test_every_class_keeps_at_least_one_example():
    # Class 0 would lose all its 4; the one it keeps is taken evenly from the two others.
    counts = np.array([[0, 2, 2], [0, 5, 0], [0, 0, 5]])
    kept = at_least_one_kept(counts)
    assert kept[0, 0] == 1
    assert (kept.diagonal() >= 1).all()
    assert (kept >= 0).all()


def test_a_class_without_examples_neither_attracts_nor_breaks():
    probs, labels = two_classes()
    wider = np.concatenate([probs * 0.9, np.full((6, 1), 0.1)], axis=1)
    scores = ConfidentLearning()(signals_of(wider, labels))
    assert scores.columns["flagged"].tolist() == [False, False, True, False, False, True]
    assert estimated_joint(wider, labels)[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("quality", ["self_confidence", "normalized_margin"])
def test_planted_flips_are_found_and_put_right(quality):
    world = planted_flips(rate=0.25)
    scores = ConfidentLearning(quality=quality)(world.signals)
    assert roc_auc_score(world.wrong, scores.suspicion) > 0.98
    flagged = scores.columns["flagged"]
    assert (flagged == world.wrong).mean() > 0.95
    assert (scores.columns["suggested_label"] == world.clean_labels)[flagged].mean() > 0.95


def test_the_joint_estimates_the_planted_noise_rate():
    world = planted_flips(rate=0.25, num_examples=2000)
    joint = estimated_joint(world.signals["oof_probs"][0, :, -1], world.signals["label"])
    assert joint.sum() == pytest.approx(1)
    assert 1 - joint.trace() == pytest.approx(0.25, abs=0.03)


def test_one_array_and_one_seed_score_alike_and_twin_seeds_have_no_error():
    probs, labels = noisy(1)
    flat = ConfidentLearning()(signals_of(probs, labels))
    seeds = ConfidentLearning()(signals_of(np.stack([probs, probs])[:, :, None], labels, epochs=(1,)))
    np.testing.assert_allclose(seeds.values, flat.values, rtol=1e-15)
    assert seeds.standard_error.max() == 0
    for name, column in flat.columns.items():
        np.testing.assert_allclose(seeds.columns[name], column, rtol=1e-15)


def test_what_is_no_probability_or_no_setting_is_refused():
    probs, labels = two_classes()
    with pytest.raises(ValueError, match=r"but those of 'world:0000' have the minimum 0.2 and the sum 2"):
        ConfidentLearning()(signals_of(2 * probs, labels))
    probs[1] = [1.25, -0.25]
    with pytest.raises(ValueError, match=r"but those of 'world:0001' have the minimum -0.25 and the sum 1"):
        ConfidentLearning()(signals_of(probs, labels))
    with pytest.raises(ValueError, match=r"K at least 2, got \(2, 1\)"):
        ConfidentLearning()(signals_of(np.ones((2, 1)), np.array([0, 0])))
    with pytest.raises(ValueError, match=r"filter must be one of prune_by_noise_rate, .*, got 'all'"):
        ConfidentLearning(filter="all")
    with pytest.raises(ValueError, match="quality must be one of self_confidence, normalized_margin, got 'loss'"):
        ConfidentLearning(quality="loss")


@pytest.mark.parametrize("rule", LABEL_FILTERS)
@pytest.mark.parametrize("quality", ["self_confidence", "normalized_margin"])
def test_rows_that_are_added_move_flags_of_earlier_ones_as_scoring_all_would(rule, quality):
    scorer = ConfidentLearning(filter=rule, quality=quality)
    probs, labels = noisy(11, num_examples=200)
    rows = signals_of(probs, labels)
    before = scorer.start(rows.take(np.arange(150)))
    merge = scorer.extend(before.state, before.new, rows.take(np.arange(150, 200)))
    whole, merged = scorer(rows), merge.over(before.new)
    np.testing.assert_array_equal(merged.values, whole.values)
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(merged.columns[name], column)


def test_further_rows_of_other_classes_or_seeds_are_refused():
    probs, labels = two_classes()
    scorer = ConfidentLearning()
    before = scorer.start(signals_of(probs, labels))
    wider = np.concatenate([probs * 0.9, np.full((6, 1), 0.1)], axis=1)
    with pytest.raises(ValueError, match="has 1 seeds and 3 classes, but earlier rows have 1 and 2"):
        scorer.extend(before.state, before.new, signals_of(wider, labels))
