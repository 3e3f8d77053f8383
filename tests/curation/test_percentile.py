import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from curation.ranks import merged_sorted, percentile_ranks
from curation.scorers.percentile import Percentile
from storage.index import ExampleIndex
from storage.values import Signals

values = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)


def signals_of(scores: list[float]) -> Signals:
    index = ExampleIndex(f"world:{number}" for number in range(len(scores)))
    return Signals(index=index, arrays={"score": np.array(scores)})


def test_percentiles_by_hand():
    # Of 4 rows: 5 lies above one and beside one equal, (1 + 0.5 + 0.5) / 4.
    assert Percentile(score="loss")(signals_of([5.0, 2.0, 5.0, 9.0])).values.tolist() == [0.5, 0.125, 0.5, 0.875]
    assert Percentile(score="loss")(signals_of([3.0])).values.tolist() == [0.5]


def test_a_new_value_moves_the_earlier_ones():
    scorer, rows = Percentile(score="loss"), signals_of([1.0, 3.0, 2.0])
    before = scorer.start(rows.take(np.arange(2)))
    assert before.new.values.tolist() == [0.25, 0.75]
    merge = scorer.extend(before.state, before.new, rows.take(np.array([2])))
    assert merge.new.values.tolist() == [0.5]
    assert merge.changed is not None
    np.testing.assert_allclose(merge.changed.values, [1 / 6, 5 / 6], rtol=1e-15)


@settings(max_examples=40, deadline=None)
@given(values)
def test_percentiles_are_mean_ranks_over_n(scores):
    found = percentile_ranks(np.array(scores), np.sort(scores))
    np.testing.assert_allclose(found, (rankdata(scores, "average") - 0.5) / len(scores), rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(values, values)
def test_merging_sorted_values_is_sorting_all(first, second):
    assert merged_sorted(np.sort(first), np.sort(second)).tolist() == sorted(first + second)


def test_what_a_high_value_says_is_a_setting():
    assert Percentile(score="aum", says="clean")(signals_of([1.0, 2.0])).high_means == "clean"
    with pytest.raises(ValueError, match="says must be one of clean, suspect, hard, similar, got 'good'"):
        Percentile(score="aum", says="good")
    with pytest.raises(ValueError, match="score must name the score to rank by"):
        Percentile(score="")
    with pytest.raises(ValueError, match=r"signal 'score' must be \(N,\), got \(1, 2\)"):
        Percentile(score="aum")(Signals(index=ExampleIndex(["a"]), arrays={"score": np.zeros((1, 2))}))
