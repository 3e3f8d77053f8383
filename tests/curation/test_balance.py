import numpy as np
import pytest

from curation.balance import kept_counts, synthetic_counts
from tests.curation.imbalanced import training_rows


def rows(*counts, classes=None):
    labels = np.repeat(np.arange(len(counts)), counts)
    return training_rows(np.zeros((len(labels), 1)), labels, classes=classes)


def test_auto_fills_up_to_the_largest_and_cuts_down_to_the_smallest():
    assert synthetic_counts(rows(9, 4, 6), "auto") == {1: 5, 2: 3}
    assert kept_counts(rows(9, 4, 6), "auto") == {0: 4, 2: 4}


def test_a_number_is_the_smaller_class_as_a_share_of_the_larger():
    # Half of 900 is 450: 350 more than 100. 100 is half of 200.
    assert synthetic_counts(rows(900, 100), 0.5) == {1: 350}
    assert kept_counts(rows(900, 100), 0.5) == {0: 200}


def test_a_table_names_what_each_class_shall_have():
    assert synthetic_counts(rows(9, 4, 6), {"b": 7, "c": 6}) == {1: 3}
    assert kept_counts(rows(9, 4, 6), {"a": 2}) == {0: 2}


def test_a_class_without_examples_is_left_out_unless_it_is_named():
    absent = rows(9, 4, classes=("a", "b", "c"))
    assert synthetic_counts(absent, "auto") == {1: 5}
    with pytest.raises(ValueError, match="class 'c' has no examples to make others from; take it out of balance"):
        synthetic_counts(absent, {"c": 5})


@pytest.mark.parametrize(
    ("counts", "balance", "message"),
    [
        ((9, 4, 6), 0.5, "balance = 0.5 as a number needs two classes, got 3: a, b, c; give a table"),
        ((9, 8), 0.5, "balance = 0.5 of the 9 examples of class 'a' is no more than the 8 of class 'b'"),
        ((9, 4), {"a": 5}, "class 'a' has 9 examples, more than the 5 that balance asks for; over-sampling only adds"),
        ((9, 4), {"z": 5}, "balance names class 'z'; there are a, b"),
    ],
)
def test_what_cannot_be_added_is_refused(counts, balance, message):
    with pytest.raises(ValueError, match=message):
        synthetic_counts(rows(*counts), balance)


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        (0.3, "class 'a' has 9 examples, fewer than the 13 that balance asks for; under-sampling only leaves out"),
        ({"b": 5}, "class 'b' has 4 examples, fewer than the 5 that balance asks for"),
    ],
)
def test_what_cannot_be_left_out_is_refused(balance, message):
    with pytest.raises(ValueError, match=message):
        kept_counts(rows(9, 4), balance)
