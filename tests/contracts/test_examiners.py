from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.examiner import INPUTS, Examiner
from storage.index import ExampleIndex
from tests.contracts.discovery import build, implementations, modules, public_classes

EXAMINERS = implementations("curation.examiners", Examiner)
SETTINGS = {"column": "text", "size": 2}
WORDS = ["a", "Sieve", "ſieve", "fine", "\u00a0", "日本語", "𝔸", "e\u0301", "", "  ", "\n"]


def columns(num_examples: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    cells = [" ".join(rng.choice(WORDS, size=rng.integers(0, 9))) for _ in range(num_examples)]
    return {"text": np.array(cells, dtype=object), INPUTS: rng.normal(size=(num_examples, 2, 3)).astype(np.float32)}


def index(num_examples: int) -> ExampleIndex:
    return ExampleIndex(f"world:{number}" for number in range(num_examples))


def instances() -> list[Examiner]:
    """Each examiner on a text column where it can read one, and on the features where it can read those."""
    found = []
    for examiner in EXAMINERS:
        column = {field.name: field for field in fields(examiner)}.get("column")
        if column is not None:
            found.append(build(examiner, **SETTINGS))
        if column is None or column.default is None:
            found.append(examiner())
    return found


every_examiner = pytest.mark.parametrize("examiner", EXAMINERS, ids=lambda examiner: examiner.__name__)
every_instance = pytest.mark.parametrize(
    "examiner", instances(), ids=lambda examiner: f"{type(examiner).__name__}-{examiner.reads[0]}"
)


def test_the_walk_finds_examiners():
    expected = {"ContentHash", "MinHash", "HashedNgrams", "Features", "NgramCounts", "FeaturesAndNgrams"}
    assert {examiner.__name__ for examiner in EXAMINERS} >= expected


@pytest.mark.parametrize("module", modules("curation.examiners"), ids=lambda module: module.__name__)
def test_each_file_defines_exactly_one_examiner(module):
    assert len(public_classes(module, Examiner)) == 1


@every_examiner
def test_an_examiner_is_a_frozen_dataclass_of_documented_settings(examiner):
    assert is_dataclass(examiner)
    assert examiner.__doc__
    assert examiner.gives
    assert isinstance(examiner.revision, int)
    instance = build(examiner, **SETTINGS)
    for field in fields(examiner):
        assert field.kw_only
        with pytest.raises(FrozenInstanceError):
            setattr(instance, field.name, None)
    assert replace(instance) == instance


@every_instance
def test_an_examiner_gives_a_row_of_finite_numbers_for_each_example(examiner):
    given_columns = columns(17)
    before = {name: column.copy() for name, column in given_columns.items()}
    signals = examiner(index(17), given_columns)
    assert tuple(signals) == examiner.gives
    for array in signals.values():
        assert array.shape[0] == 17
        assert array.ndim in (1, 2)
        assert np.isfinite(array).all()
        assert array.std() > 0
    for name, column in before.items():
        np.testing.assert_array_equal(given_columns[name], column)


@every_instance
def test_an_examiner_needs_only_the_columns_it_reads_and_names_one_that_is_missing(examiner):
    whole = columns(5)
    only = {name: whole[name] for name in examiner.reads}
    for name, array in examiner(index(5), only).items():
        np.testing.assert_array_equal(array, examiner(index(5), whole)[name])
    with pytest.raises(ValueError, match=f"column '{examiner.reads[0]}' was not handed over; there are other"):
        examiner(index(5), {"other": whole["text"]})


@every_instance
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_each_row_is_examined_by_itself_alone(examiner, seed, cuts):
    given_columns = columns(30, seed)
    whole = examiner(index(30), given_columns)
    order = np.random.default_rng(seed).permutation(30)
    parts = []
    for rows in np.split(order, sorted(cuts)):
        block = {name: column[rows] for name, column in given_columns.items()}
        parts.append(examiner(index(len(rows)), block))
    for name in examiner.gives:
        assert {part[name].dtype for part in parts} == {whole[name].dtype}
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name][order])


@every_instance
def test_a_cell_that_cannot_be_read_is_named_with_its_count(examiner):
    broken = columns(9)
    broken["text"][[4, 6]] = None
    broken[INPUTS][[4, 6], 1, 1] = np.nan
    what = "not finite" if examiner.reads == (INPUTS,) else "no text"
    with pytest.raises(ValueError, match=f"is {what} for 2 of 9 examples .first: 'world:4'"):
        examiner(index(9), broken)
