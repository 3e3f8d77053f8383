from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.scorer import Merge, MergingScorer, Scorer, scores_at
from storage.index import ExampleIndex
from storage.values import HighMeans, Scores, Signals
from tests.contracts.discovery import build, implementations, modules, public_classes
from tests.worlds import World, planted_flips

SCORERS = implementations("curation.scorers", Scorer)
SETTINGS = {
    **{"score": "planted", "target": 0, "num_neighbors": 5, "alarm_share": 1.0, "threshold": 0.6},
    "num_dimensions": 3,
}
FOLLOW_THE_ORDER = ("ExactDuplicates", "NearDuplicates", "EmbeddingDuplicates")
"""Of equal rows the first in the order of the data set stays: what they say depends on that order."""


def crowded(world: World, *, seed: int = 0) -> Signals:
    """The world's signals beside signals of examples alone: clusters, twins and likenesses among few values."""
    rng = np.random.default_rng(seed)
    size = len(world.signals)
    embedding = (3 * np.eye(4)[world.clean_labels] + rng.normal(size=(size, 4))).astype(np.float32)
    twins = rng.integers(size, size=size // 5)
    embedding[rng.permutation(size)[: len(twins)]] = embedding[twins]
    minhash = rng.integers(8, size=(size // 4, 64))[rng.integers(size // 4, size=size)]
    altered = rng.random((size, 64)) < rng.uniform(0, 0.3, size=(size, 1))
    minhash = np.where(altered, rng.integers(8, size=(size, 64)), minhash).astype(np.uint32)
    alone = {
        "content_hash": rng.integers(12, size=(size, 2)).astype(np.uint64),
        "minhash": minhash,
        "embedding": embedding,
        "score": rng.integers(40, size=size).astype(np.float64),
        "benchmark": np.where(np.arange(size) % 4 == 0, np.arange(size) // 4 % 2, -1),
        "ngram_counts": rng.integers(5, size=(size, 6)).astype(np.uint16),
        "ngram_hashes": rng.integers(2 * size, size=(size, 3)).astype(np.uint64),
    }
    return Signals(index=world.signals.index, arrays={**world.signals.arrays, **alone}, epochs=world.signals.epochs)


WORLD = planted_flips()
SIGNALS = crowded(WORLD)
RECORDED = tuple(SIGNALS.epochs)


def made(scorer: type[Scorer]) -> Scorer:
    return build(scorer, **SETTINGS)


def select(condition) -> list[type[Scorer]]:
    return [scorer for scorer in SCORERS if condition(scorer)]


def named(scorers: list[type[Scorer]]):
    return pytest.mark.parametrize("scorer", scorers, ids=lambda scorer: scorer.__name__)


every_scorer = named(SCORERS)
every_merging_scorer = named(select(lambda scorer: issubclass(scorer, MergingScorer)))
every_scorer_of_recorded_signals = named(select(lambda scorer: set(scorer.reads) & set(RECORDED)))


def assert_same_scores(one: Scores, other: Scores) -> None:
    assert one.index == other.index
    assert one.high_means == other.high_means
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.standard_error is None) == (other.standard_error is None)
    if one.standard_error is not None:
        np.testing.assert_array_equal(one.standard_error, other.standard_error)
    assert set(one.columns) == set(other.columns)
    for name in one.columns:
        np.testing.assert_array_equal(one.columns[name], other.columns[name])


def without(signals: Signals, name: str) -> Signals:
    arrays = {other: array for other, array in signals.arrays.items() if other != name}
    epochs = {other: numbers for other, numbers in signals.epochs.items() if other != name}
    return Signals(index=signals.index, arrays=arrays, epochs=epochs)


def test_the_walk_finds_scorers():
    expected = {"Loss", "EL2N", "AUM", "ELRNoise", "Margin", "Forgetting", "ConfidentLearning", "GraNd"}
    expected |= {"ExactDuplicates", "NearDuplicates", "KNNDistance", "KNNDisagreement", "TextClassifier", "Percentile"}
    expected |= {"EmbeddingDuplicates", "BETR", "BETREmbedded", "BETRMixed", "CosineMax", "DSIR", "TargetClassifier"}
    assert expected <= {scorer.__name__ for scorer in SCORERS}


@pytest.mark.parametrize("module", modules("curation.scorers"), ids=lambda module: module.__name__)
def test_each_file_defines_exactly_one_scorer(module):
    assert len(public_classes(module, Scorer)) == 1


@every_scorer
def test_a_scorer_is_a_frozen_dataclass_of_documented_settings(scorer):
    assert is_dataclass(scorer)
    assert scorer.__doc__
    instance = made(scorer)
    for field in fields(scorer):
        assert field.kw_only
        with pytest.raises(FrozenInstanceError):
            setattr(instance, field.name, None)
    assert replace(instance) == instance


@every_scorer
def test_a_scorer_declares_what_it_reads_and_which_end_means_what(scorer):
    assert scorer.reads
    assert scorer.high_means in get_args(HighMeans)
    assert scorer.per_example in (True, False)
    assert isinstance(scorer.revision, int)
    assert scorer.revision >= 1


@every_scorer
def test_scores_follow_the_index_and_say_which_end_means_what(scorer):
    scores = made(scorer)(SIGNALS)
    assert scores.index == SIGNALS.index
    assert scores.high_means == scorer.high_means
    assert scores.values.dtype == np.float64
    assert np.ptp(scores.values) > 0


@every_scorer_of_recorded_signals
def test_scores_of_several_seeds_have_a_standard_error(scorer):
    assert made(scorer)(SIGNALS).standard_error is not None


@every_scorer
def test_a_scorer_works_with_nothing_but_the_signals_it_declares(scorer):
    signals = SIGNALS
    bare = Signals(
        index=signals.index,
        arrays={name: signals[name] for name in scorer.reads},
        epochs={name: numbers for name, numbers in signals.epochs.items() if name in scorer.reads},
    )
    assert_same_scores(made(scorer)(bare), made(scorer)(signals))


@every_scorer
def test_a_missing_signal_is_named(scorer):
    for name in scorer.reads:
        with pytest.raises(ValueError, match=f"signal '{name}' was not recorded; this run has"):
            made(scorer)(without(SIGNALS, name))


@named(select(lambda scorer: scorer.__name__ not in FOLLOW_THE_ORDER))
def test_permuting_examples_permutes_scores(scorer):
    positions = np.random.default_rng(1).permutation(len(SIGNALS))
    permuted = made(scorer)(SIGNALS.take(positions))
    assert_same_scores(permuted, scores_at(made(scorer)(SIGNALS), positions))


@pytest.mark.parametrize("scorer", [scorer for scorer in SCORERS if scorer.per_example])
def test_per_example_scores_do_not_change_when_the_examples_are_split(scorer):
    whole = made(scorer)(SIGNALS)
    for positions in (np.arange(0, 70), np.arange(70, 200), np.array([199])):
        assert_same_scores(made(scorer)(SIGNALS.take(positions)), scores_at(whole, positions))


@every_scorer
def test_scoring_twice_gives_the_same_and_leaves_its_inputs_untouched(scorer):
    before = {name: array.copy() for name, array in SIGNALS.arrays.items()}
    assert_same_scores(made(scorer)(SIGNALS), made(scorer)(SIGNALS))
    for name, array in before.items():
        np.testing.assert_array_equal(SIGNALS[name], array)


@every_scorer
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_signal_that_is_not_finite_is_named_with_its_count_and_first_id(scorer, bad):
    for name in scorer.reads:
        if not np.issubdtype(SIGNALS[name].dtype, np.floating):
            continue
        array = SIGNALS[name].copy()
        if name in RECORDED:
            array[0, 7] = bad
            array[1, [7, 11], -1] = bad
        else:
            array[[7, 11]] = bad
        broken = Signals(
            index=SIGNALS.index,
            arrays={**SIGNALS.arrays, name: array},
            epochs=SIGNALS.epochs,
        )
        with pytest.raises(ValueError, match=rf"'{name}' is not finite for 2 of 200 .*first: 'world:7'"):
            made(scorer)(broken)


@named(select(lambda scorer: "label" in scorer.reads and set(scorer.reads) & set(RECORDED)))
def test_labels_outside_the_classes_are_refused(scorer):
    for wrong in (-1, 4):
        labels = SIGNALS["label"].copy()
        labels[3] = wrong
        broken = Signals(
            index=SIGNALS.index,
            arrays={**SIGNALS.arrays, "label": labels},
            epochs=SIGNALS.epochs,
        )
        with pytest.raises(ValueError, match=rf"1 of 200 labels are not in \[0, 4\) .*'world:3' has {wrong}"):
            made(scorer)(broken)


def in_batches(scorer: MergingScorer, signals: Signals, cuts: list[int]) -> tuple[Scores, Merge]:
    first, *others = np.split(np.arange(len(signals)), cuts)
    merge = scorer.start(signals.take(first))
    scores = merge.over(None)
    for positions in others:
        merge = scorer.extend(merge.state, scores, signals.take(positions))
        assert merge.new.index == signals.index.take(positions)
        scores = merge.over(scores)
    return scores, merge


def in_one(scorer: MergingScorer, signals: Signals, cut: int) -> Scores:
    """What batches must come to: one start with all rows, or all further rows scored by the state of the first."""
    if not scorer.frozen_at_start:
        return scorer.start(signals).new
    first = scorer.start(signals.take(np.arange(cut)))
    return scorer.extend(first.state, first.new, signals.take(np.arange(cut, len(signals)))).over(first.new)


FEWEST_AT_START = 17
"""The first so many rows of each of these worlds bear every label, which a classifier that is fitted on them needs."""


@every_merging_scorer
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(FEWEST_AT_START, 60), min_size=0, max_size=3, unique=True)
)
def test_batches_in_order_come_to_the_same_scores_as_all_rows_at_once(scorer, seed, cuts):
    signals = crowded(planted_flips(num_examples=60, seed=seed % 50), seed=seed)
    signals = Signals(
        index=signals.index, arrays={name: signals[name] for name in scorer.reads}, epochs=epochs_of(signals, scorer)
    )
    instance, cuts = made(scorer), sorted(cuts)
    scores, merge = in_batches(instance, signals, cuts)
    assert_same_scores(scores, in_one(instance, signals, cuts[0] if cuts else len(signals)))
    if not scorer.frozen_at_start:
        state = instance.start(signals).state
        assert state.keys() == merge.state.keys()
        for name, array in state.items():
            np.testing.assert_array_equal(merge.state[name], array)


def epochs_of(signals: Signals, scorer: type[Scorer]) -> dict[str, tuple[int, ...]]:
    return {name: numbers for name, numbers in signals.epochs.items() if name in scorer.reads}


@every_merging_scorer
def test_a_state_holds_whole_arrays_of_numbers_that_a_store_can_keep(scorer):
    for array in made(scorer).start(SIGNALS).state.values():
        assert array.dtype.kind in "biuf"
        assert array.flags.c_contiguous


@every_merging_scorer
def test_only_rows_that_changed_are_called_changed(scorer):
    instance = made(scorer)
    before = instance.start(SIGNALS.take(np.arange(120)))
    merge = instance.extend(before.state, before.new, SIGNALS.take(np.arange(120, 200)))
    if merge.changed is None:
        return
    old = scores_at(before.new, before.new.index.positions(merge.changed.index.ids))
    same = old.values == merge.changed.values
    for name, column in merge.changed.columns.items():
        same &= old.columns[name] == column
    assert not same.any()


@every_merging_scorer
def test_a_row_that_is_there_already_is_refused(scorer):
    instance = made(scorer)
    before = instance.start(SIGNALS)
    if scorer.frozen_at_start:
        return
    with pytest.raises(ValueError, match="'world:3' occurs more than once"):
        instance.extend(before.state, before.new, SIGNALS.take(np.array([3])))


def test_earlier_scores_without_changes_are_joined_as_they_are():
    index = ExampleIndex(["a", "b", "c"])
    scores = Scores(
        index=index, values=np.arange(3.0), high_means="hard", columns={"keeper": np.array(["a", "a", "c"])}
    )
    merge = Merge(state={}, new=scores_at(scores, np.array([2])), changed=scores_at(scores, np.array([1])))
    earlier = Scores(
        index=index.take(np.array([0, 1])),
        values=np.zeros(2),
        high_means="hard",
        columns={"keeper": np.array(["a", "b"])},
    )
    assert_same_scores(merge.over(earlier), scores)
