import numpy as np
import pytest

from curation.examiner import INPUTS
from curation.examiners.features import Features
from curation.examiners.features_and_ngrams import FeaturesAndNgrams
from curation.examiners.ngram_counts import NgramCounts
from storage.index import ExampleIndex

INDEX = ExampleIndex(f"world:{row}" for row in range(40))
RNG = np.random.default_rng(0)
COLUMNS = {
    "text": np.array(
        [" ".join(RNG.choice(["Atom", "heat", "cell,", "日本語"], row % 7)) for row in range(40)], dtype=object
    ),
    INPUTS: RNG.normal(size=(40, 2, 3)).astype(np.float32),
}


@pytest.mark.parametrize(
    ("counting", "scaling"),
    [
        ({}, {}),
        ({"unit": "char", "sizes": (3,), "num_buckets": 64}, {"mean": (0.5,), "scale": (1, 2, 3, 4, 5, 6)}),
    ],
)
def test_both_arrays_are_those_of_the_two_examiners_bit_for_bit(counting, scaling):
    found = FeaturesAndNgrams(column="text", **counting, **scaling)(INDEX, COLUMNS)
    alone = Features(**scaling)(INDEX, COLUMNS) | NgramCounts(column="text", **counting)(INDEX, COLUMNS)
    assert found.keys() == alone.keys()
    for name, array in alone.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_blocks_change_nothing():
    examiner = FeaturesAndNgrams(column="text", mean=(0.1,), scale=(3.0,))
    whole = examiner(INDEX, COLUMNS)
    parts = [
        examiner(INDEX.take(rows), {name: column[rows] for name, column in COLUMNS.items()})
        for rows in np.split(np.arange(40), [0, 1, 17])
    ]
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": INPUTS}, "column must name a text column, got 'inputs'"),
        ({"sizes": ()}, "sizes must name at least one size"),
        ({"num_buckets": 1}, "num_buckets must be at least 2, got 1"),
        ({"mean": (np.inf,)}, "mean must hold finite numbers, at least one"),
        ({"scale": (0.0,)}, "scale must be above 0, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FeaturesAndNgrams(**{"column": "text", **settings})


def test_rows_that_cannot_be_read_are_named():
    examiner = FeaturesAndNgrams(column="text")
    inputs = COLUMNS[INPUTS].copy()
    inputs[[3, 5], 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"'inputs' is not finite for 2 of 40 examples \(first: 'world:3'\)"):
        examiner(INDEX, {**COLUMNS, INPUTS: inputs})
    with pytest.raises(ValueError, match="column 'inputs' was not handed over; there are text"):
        examiner(INDEX, {"text": COLUMNS["text"]})
    with pytest.raises(ValueError, match="mean must hold 1 number or 6, one a feature, got 2"):
        FeaturesAndNgrams(column="text", mean=(1.0, 2.0))(INDEX, COLUMNS)
