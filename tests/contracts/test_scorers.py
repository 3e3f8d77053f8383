from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import get_args

import numpy as np
import pytest

from curation.scorer import Scorer
from storage.values import HighMeans, Scores, Signals
from tests.contracts.discovery import implementations, modules, public_classes
from tests.worlds import planted_flips

SCORERS = implementations("curation.scorers", Scorer)
WORLD = planted_flips()

every_scorer = pytest.mark.parametrize("scorer", SCORERS, ids=lambda scorer: scorer.__name__)


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


def taken(scores: Scores, positions: np.ndarray) -> Scores:
    error = scores.standard_error
    return Scores(
        index=scores.index.take(positions),
        values=scores.values[positions],
        high_means=scores.high_means,
        standard_error=None if error is None else error[positions],
        columns={name: column[positions] for name, column in scores.columns.items()},
    )


def without(signals: Signals, name: str) -> Signals:
    arrays = {other: array for other, array in signals.arrays.items() if other != name}
    epochs = {other: numbers for other, numbers in signals.epochs.items() if other != name}
    return Signals(index=signals.index, arrays=arrays, epochs=epochs)


def test_the_walk_finds_scorers():
    expected = {"Loss", "EL2N", "AUM", "ELRNoise", "Margin", "Forgetting", "ConfidentLearning", "GraNd"}
    assert expected <= {scorer.__name__ for scorer in SCORERS}


@pytest.mark.parametrize("module", modules("curation.scorers"), ids=lambda module: module.__name__)
def test_each_file_defines_exactly_one_scorer(module):
    assert len(public_classes(module, Scorer)) == 1


@every_scorer
def test_a_scorer_is_a_frozen_dataclass_of_documented_settings(scorer):
    assert is_dataclass(scorer)
    assert scorer.__doc__
    instance = scorer()
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
    scores = scorer()(WORLD.signals)
    assert scores.index == WORLD.signals.index
    assert scores.high_means == scorer.high_means
    assert scores.values.dtype == np.float64
    assert scores.standard_error is not None


@every_scorer
def test_a_scorer_works_with_nothing_but_the_signals_it_declares(scorer):
    signals = WORLD.signals
    bare = Signals(
        index=signals.index,
        arrays={name: signals[name] for name in scorer.reads},
        epochs={name: numbers for name, numbers in signals.epochs.items() if name in scorer.reads},
    )
    assert_same_scores(scorer()(bare), scorer()(signals))


@every_scorer
def test_a_missing_signal_is_named(scorer):
    for name in scorer.reads:
        with pytest.raises(ValueError, match=f"signal '{name}' was not recorded; this run has"):
            scorer()(without(WORLD.signals, name))


@every_scorer
def test_permuting_examples_permutes_scores(scorer):
    positions = np.random.default_rng(1).permutation(len(WORLD.signals))
    permuted = scorer()(WORLD.signals.take(positions))
    assert_same_scores(permuted, taken(scorer()(WORLD.signals), positions))


@pytest.mark.parametrize("scorer", [scorer for scorer in SCORERS if scorer.per_example])
def test_per_example_scores_do_not_change_when_the_examples_are_split(scorer):
    whole = scorer()(WORLD.signals)
    for positions in (np.arange(0, 70), np.arange(70, 200), np.array([199])):
        assert_same_scores(scorer()(WORLD.signals.take(positions)), taken(whole, positions))


@every_scorer
def test_scoring_twice_gives_the_same_and_leaves_its_inputs_untouched(scorer):
    before = {name: array.copy() for name, array in WORLD.signals.arrays.items()}
    assert_same_scores(scorer()(WORLD.signals), scorer()(WORLD.signals))
    for name, array in before.items():
        np.testing.assert_array_equal(WORLD.signals[name], array)


@every_scorer
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_signal_that_is_not_finite_is_named_with_its_count_and_first_id(scorer, bad):
    for name in scorer.reads:
        if name == "label":
            continue
        array = WORLD.signals[name].copy()
        array[0, 7] = bad
        array[1, [7, 11], -1] = bad
        broken = Signals(
            index=WORLD.signals.index,
            arrays={**WORLD.signals.arrays, name: array},
            epochs=WORLD.signals.epochs,
        )
        with pytest.raises(ValueError, match=rf"'{name}' is not finite for 2 of 200 .*first: 'world:7'"):
            scorer()(broken)


@every_scorer
def test_labels_outside_the_classes_are_refused(scorer):
    for wrong in (-1, 4):
        labels = WORLD.signals["label"].copy()
        labels[3] = wrong
        broken = Signals(
            index=WORLD.signals.index,
            arrays={**WORLD.signals.arrays, "label": labels},
            epochs=WORLD.signals.epochs,
        )
        with pytest.raises(ValueError, match=rf"1 of 200 labels are not in \[0, 4\) .*'world:3' has {wrong}"):
            scorer()(broken)
