from dataclasses import FrozenInstanceError, fields, is_dataclass

import numpy as np
import pytest

from curation.ranks import budget
from curation.selector import Selector
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals
from tests.contracts.discovery import build, implementations, modules, public_classes

SELECTORS = implementations("curation.selectors", Selector)
SETTINGS = {
    "score": "planted",
    "prefer_high": ("planted",),
    "prefer_low": ("other",),
    "fraction": 0.3,
    "maximum": 4.0,
    "num_prototypes": 2,
    "token_fraction": 0.3,
}
DRAWN_BY_LOT = {"Random", "CCS", "ImportanceSampling"}
READS_A_SIGNAL = {
    "KCenter": "embedding",
    "FacilityLocation": "embedding",
    "Prototypes": "embedding",
    "ClassBalanced": "label",
    "ClassWeights": "label",
    "TokenBudget": "num_tokens",
}

every_selector = pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: selector.__name__)

WITH_A_FRACTION = [selector for selector in SELECTORS if "fraction" in {field.name for field in fields(selector)}]
WITH_A_BUDGET = [selector for selector in WITH_A_FRACTION if not selector.schedules]

every_selector_with_a_fraction = pytest.mark.parametrize("selector", WITH_A_FRACTION)
every_selector_with_a_budget = pytest.mark.parametrize("selector", WITH_A_BUDGET)
every_selector_with_a_schedule = pytest.mark.parametrize(
    "selector", [selector for selector in SELECTORS if selector.schedules]
)
every_selector_that_ranks = pytest.mark.parametrize(
    "selector", [selector for selector in WITH_A_BUDGET if selector.__name__ not in DRAWN_BY_LOT]
)
every_selector_that_reads_a_score = pytest.mark.parametrize(
    "selector", [selector for selector in SELECTORS if build(selector, **SETTINGS).reads]
)


def examples(num_examples: int, *, num_values: int = 7) -> tuple[Signals, dict[str, Scores]]:
    rng = np.random.default_rng(num_examples)
    index = ExampleIndex(f"world:{number}" for number in range(num_examples))
    values = rng.integers(num_values, size=num_examples).astype(np.float64)
    arrays = {
        "label": rng.integers(3, size=num_examples),
        "embedding": rng.integers(4, size=(num_examples, 3)).astype(np.float32),
        "num_tokens": rng.integers(1, 9, size=num_examples),
    }
    other = rng.integers(num_values, size=num_examples).astype(np.float64)
    scores = {
        "planted": Scores(index=index, values=values, high_means="hard"),
        "other": Scores(index=index, values=other, high_means="hard"),
    }
    return Signals(index=index, arrays=arrays), scores


def select(selector: Selector, signals: Signals, scores: dict[str, Scores], *, seed: int = 0) -> Selection:
    return selector(signals, scores, np.random.default_rng(seed))


def by_example(selection: Selection) -> dict[str, tuple[float, str]]:
    return dict(
        zip(selection.index, zip(selection.weights.tolist(), selection.reasons.tolist(), strict=True), strict=True)
    )


def test_the_walk_finds_selectors():
    names = {selector.__name__ for selector in SELECTORS}
    assert {"Everything", "Random", "TopFraction", "Threshold", "ClassBalanced", "CCS", "KCenter"} <= names
    assert {"ImportanceSampling", "Borda", "Bloc", "SNTV", "ChamberlinCourant", "OWA"} <= names
    assert {"RS2", "FacilityLocation", "Prototypes"} <= names


@pytest.mark.parametrize("module", modules("curation.selectors"), ids=lambda module: module.__name__)
def test_each_file_defines_exactly_one_selector(module):
    assert len(public_classes(module, Selector)) == 1


@every_selector
def test_a_selector_is_a_frozen_dataclass_of_settings(selector):
    assert is_dataclass(selector)
    assert selector.__doc__
    instance = build(selector, **SETTINGS)
    for field in fields(selector):
        assert field.kw_only
        with pytest.raises(FrozenInstanceError):
            setattr(instance, field.name, None)


@every_selector
def test_ids_survive_and_every_row_has_a_weight_and_a_reason(selector):
    signals, scores = examples(100)
    selection = select(build(selector, **SETTINGS), signals, scores)
    assert selection.index == signals.index
    assert selection.weights.dtype == np.float32
    assert selection.weights.shape == (100,)
    assert selection.kept.any()
    assert all(isinstance(reason, str) and reason for reason in selection.reasons)


@every_selector
def test_one_rule_gives_kept_and_dropped_examples_different_reasons(selector):
    signals, scores = examples(100)
    selection = select(build(selector, **SETTINGS), signals, scores)
    kept = set(selection.reasons[selection.kept])
    dropped = set(selection.reasons[~selection.kept])
    assert not kept & dropped
    assert len(kept | dropped) <= 4


@every_selector_with_a_budget
@pytest.mark.parametrize("num_examples", [7, 10, 99, 100])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 2 / 3, 1.0])
def test_a_fraction_is_met_exactly_in_spite_of_ties(selector, num_examples, fraction):
    signals, scores = examples(num_examples, num_values=2)
    selection = select(build(selector, **{**SETTINGS, "fraction": fraction}), signals, scores)
    assert selection.kept.sum() == budget(fraction, num_examples)


@every_selector_with_a_fraction
def test_a_fraction_that_rounds_to_nothing_is_refused(selector):
    signals, scores = examples(4)
    with pytest.raises(ValueError, match="none of 4 examples; nothing could be trained on it"):
        select(build(selector, **{**SETTINGS, "fraction": 0.1}), signals, scores)


@every_selector_with_a_fraction
@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1])
def test_a_fraction_outside_its_range_is_refused(selector, fraction):
    with pytest.raises(ValueError, match=rf"fraction must be in \(0, 1\], got {fraction}"):
        build(selector, **{**SETTINGS, "fraction": fraction})


@every_selector
def test_selections_carry_a_schedule_only_where_the_selector_says_so(selector):
    signals, scores = examples(20)
    assert (select(build(selector, **SETTINGS), signals, scores).schedule is not None) == selector.schedules


@every_selector_with_a_schedule
def test_a_schedule_keeps_everything_and_has_the_fraction_and_a_seed_of_the_generator(selector):
    signals, scores = examples(20)
    instance = build(selector, **{**SETTINGS, "fraction": 0.25})
    first, again, other = (select(instance, signals, scores, seed=seed) for seed in (0, 0, 1))
    assert (first.weights == 1).all()
    assert first.schedule.fraction == 0.25
    assert first.schedule == again.schedule
    assert first.schedule.seed != other.schedule.seed


@every_selector_that_ranks
def test_of_equal_examples_those_with_the_smaller_ids_are_kept(selector):
    signals, scores = examples(12)
    alike = Signals(
        index=signals.index, arrays={"label": np.zeros(12, np.int64), "embedding": np.ones((12, 2), np.float32)}
    )
    same = {name: Scores(index=one.index, values=np.full(12, 2.0), high_means="hard") for name, one in scores.items()}
    selection = select(build(selector, **{**SETTINGS, "fraction": 0.5}), alike, same)
    kept = [example for example, weight in zip(alike.index, selection.weights, strict=True) if weight]
    assert sorted(kept) == sorted(alike.index)[:6]


@every_selector
def test_a_signal_that_is_not_there_is_named(selector):
    signals, scores = examples(20)
    bare = Signals(index=signals.index, arrays={"other": np.zeros(20)})
    instance = build(selector, **SETTINGS)
    name = READS_A_SIGNAL.get(selector.__name__)
    if name is None:
        assert by_example(select(instance, bare, scores)) == by_example(select(instance, signals, scores))
        return
    with pytest.raises(ValueError, match=f"signal '{name}' was not recorded; this run has other"):
        select(instance, bare, scores)


@every_selector
@pytest.mark.parametrize("num_values", [1, 3, 1000])
def test_permuting_examples_changes_nothing_for_any_of_them(selector, num_values):
    signals, scores = examples(60, num_values=num_values)
    instance = build(selector, **{**SETTINGS, "maximum": 900.0})
    plain = by_example(select(instance, signals, scores))
    for seed in range(3):
        positions = np.random.default_rng(seed).permutation(60)
        index = signals.index.take(positions)
        moved = {
            name: Scores(index=index, values=one.values[positions], high_means="hard") for name, one in scores.items()
        }
        assert by_example(select(instance, signals.take(positions), moved)) == plain


@every_selector
def test_the_generator_is_the_only_source_of_chance(selector):
    signals, scores = examples(50)
    instance = build(selector, **SETTINGS)
    np.random.seed(1)  # noqa: NPY002
    first = select(instance, signals, scores, seed=5)
    np.random.seed(2)  # noqa: NPY002
    second = select(instance, signals, scores, seed=5)
    assert by_example(first) == by_example(second)


@every_selector
def test_inputs_are_left_untouched(selector):
    signals, scores = examples(50)
    arrays = {name: array.copy() for name, array in signals.arrays.items()}
    values = {name: one.values.copy() for name, one in scores.items()}
    select(build(selector, **SETTINGS), signals, scores)
    for name, array in arrays.items():
        np.testing.assert_array_equal(signals[name], array)
    for name, one in values.items():
        np.testing.assert_array_equal(scores[name].values, one)


@every_selector_that_reads_a_score
def test_a_score_that_is_not_there_is_named_with_those_that_are(selector):
    signals, scores = examples(20)
    instance = build(selector, **{**SETTINGS, "score": "lost", "prefer_high": ("lost",), "prefer_low": ()})
    assert instance.reads == ("lost",)
    with pytest.raises(ValueError, match="no scores named 'lost'; this run has other, planted"):
        select(instance, signals, scores)
