import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.folds import fold_numbers


def dealt(contents, labels, num_folds, seed=0):
    given_contents = np.asarray(contents, dtype=np.uint64)
    return fold_numbers(given_contents, np.asarray(labels), num_folds, np.random.default_rng(seed))


rows = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=13, max_size=60).filter(
    lambda pairs: len({content for content, _ in pairs}) >= 5
)


@given(rows, st.integers(2, 5), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_permuting_examples_permutes_their_folds(pairs, num_folds, seed):
    contents, labels = np.array(pairs).T
    order = np.random.default_rng(seed).permutation(len(pairs))
    folds = dealt(contents, labels, num_folds)
    assert np.array_equal(dealt(contents[order], labels[order], num_folds), folds[order])


@given(rows, st.integers(2, 5))
@settings(deadline=None, max_examples=30)
def test_rows_of_equal_content_share_a_fold_whatever_their_labels(pairs, num_folds):
    contents, labels = np.array(pairs).T
    folds = dealt(contents, labels, num_folds)
    assert all(len(set(folds[contents == content])) == 1 for content in contents)
    assert set(folds) == set(range(num_folds))


@given(st.lists(st.integers(0, 3), min_size=5, max_size=60), st.integers(2, 5))
@settings(deadline=None, max_examples=30)
def test_folds_and_classes_are_even_where_every_content_is_another(labels, num_folds):
    folds = dealt(range(len(labels)), labels, num_folds)
    sizes = np.bincount(folds, minlength=num_folds)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        of_class = np.bincount(folds[np.array(labels) == label], minlength=num_folds)
        assert of_class.max() - of_class.min() <= 1


def test_a_class_of_few_examples_is_in_as_many_folds():
    folds = dealt(range(12), [0] * 9 + [1] * 2 + [2], 4)
    assert len(set(folds[9:11])) == 2
    assert sorted(np.bincount(folds)) == [3, 3, 3, 3]


def test_pairs_of_twins_are_dealt_out_before_single_rows():
    contents = [*range(12), 0, 1, 2]  # contents 0, 1 and 2 have two rows each
    folds = dealt(contents, [0] * 15, 3)
    assert len(set(folds[:3])) == 3
    assert np.bincount(folds).tolist() == [5, 5, 5]


def test_a_content_of_several_labels_counts_as_its_commonest_and_of_equals_the_smallest():
    # Class 0: contents 0 and 1; class 1: contents 2 and 3. Any other reading would let a class of two share a fold.
    contents, labels = [0, 0, 0, 1, 2, 2, 3, 3], [0, 0, 1, 0, 2, 1, 1, 1]
    for seed in range(8):
        folds = dealt(contents, labels, 2, seed)
        assert folds[0] != folds[3]
        assert folds[4] != folds[6]


def test_another_seed_deals_other_folds():
    assert any((dealt(range(20), [0] * 20, 2, 0) != dealt(range(20), [0] * 20, 2, 1)).tolist())


def test_too_few_folds_and_too_few_contents_are_refused():
    with pytest.raises(ValueError, match="num_folds must be at least 2, got 1"):
        dealt([1, 2], [0, 0], 1)
    with pytest.raises(ValueError, match="3 folds need as many examples of differing content, and there are 2; ask"):
        dealt([1, 2, 2, 1], [0, 0, 1, 1], 3)
