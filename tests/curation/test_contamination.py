import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.decontamination import evaluation_ngrams, shared_ngrams
from curation.examiners.contamination_ngrams import ContaminationNgrams
from curation.scorers.contamination import Contamination
from storage.index import ExampleIndex
from storage.values import Signals


def signals_of(documents: list[str], evaluation: list[str], size: int, most: int = 64) -> Signals:
    ids = [*(f"pool:{one:03}" for one in range(len(documents))), *(f"test:{one}" for one in range(len(evaluation)))]
    texts = np.array([*documents, *evaluation], dtype=object)
    found = ContaminationNgrams(column="text", size=size, most=most)(ExampleIndex(ids), {"text": texts})
    benchmark = np.array([-1] * len(documents) + [0] * len(evaluation))
    return Signals(index=ExampleIndex(ids), arrays={**found, "benchmark": benchmark})


def test_shared_ngrams_by_hand_and_the_example_that_has_the_first():
    # Runs of three: "b c d" and "c d e" are of the first question, "x y z" of the second; the last text has none.
    documents = ["a B, c d e f", "x y z a b", "a b", "q r s t", "b c d x y z"]
    scores = Contamination()(signals_of(documents, ["b c d e", "x-y z"], 3))
    assert scores.values[:5].tolist() == [2, 1, 0, 0, 2]
    assert scores.columns["target"][:5].tolist() == ["test:0", "test:1", "", "", "test:0"]


def test_ngrams_that_the_pool_has_too_often_are_ignored():
    signals = signals_of(["a b c"] * 3 + ["d e f"], ["a b c d e f"], 3)
    assert Contamination(most_in_pool=3)(signals).values[:4].tolist() == [1, 1, 1, 1]
    assert Contamination(most_in_pool=2)(signals).values[:4].tolist() == [0, 0, 0, 1]


TEXTS = st.lists(st.text(alphabet="ab C,", max_size=14), min_size=1, max_size=6)


@given(documents=TEXTS, evaluation=TEXTS, size=st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_counts_are_those_of_reading_the_texts_twice(documents, evaluation, size):
    signals = signals_of(documents, evaluation, size)
    if not signals["ngram_hashes"][len(documents) :].any():
        with pytest.raises(ValueError, match="evaluation examples has an n-gram; lower its 'size'"):
            Contamination()(signals)
        return
    scores = Contamination()(signals)
    slow = shared_ngrams(lambda: [documents], evaluation_ngrams(evaluation, size))
    assert scores.values[: len(documents)].tolist() == slow.num_shared.tolist()
    names = ["" if one < 0 else f"test:{one}" for one in slow.evaluation]
    assert scores.columns["target"][: len(documents)].tolist() == names


def test_a_text_with_more_ngrams_than_there_is_room_for_is_refused():
    with pytest.raises(ValueError, match="'pool:001' has 5 n-grams, above 4; part it or raise 'most'"):
        signals_of(["a b", "a b c d e f"], ["a b"], 2, most=4)


@pytest.mark.parametrize(("size", "most"), [(0, 4), (2, 0)])
def test_settings_below_one_are_refused(size, most):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        ContaminationNgrams(column="text", size=size, most=most)
    with pytest.raises(ValueError, match="most_in_pool must be at least 1, got 0"):
        Contamination(most_in_pool=0)
