import polars as pl
import pytest

from storage.contract import KEY, RULES, Contract, broken_rules
from storage.schemas import Feature

X = Feature(name="x", kind="number")


def test_an_unknown_action_lists_those_there_are():
    with pytest.raises(ValueError, match="action must be one of quarantine, fail, got 'ignore'"):
        Contract(action="ignore")


def test_rows_that_are_all_good_break_nothing():
    frame = pl.DataFrame({KEY: ["a"], "label": ["cat"], "split": ["train"], "group": ["g"], "x": [1.0]})
    assert broken_rules(frame, [X], Contract(labels=("cat",))) is None


def test_a_row_is_counted_under_the_first_rule_it_breaks():
    frame = pl.DataFrame(
        {
            KEY: ["", "a", "b", "c"],
            "label": [None, None, "cow", "cat"],
            "x": [float("nan"), float("nan"), float("nan"), float("inf")],
        }
    )
    rules = broken_rules(frame, [X], Contract(labels=("cat",)))
    assert rules is not None
    assert rules.tolist() == ["null key", "null label", "unknown label", "non-finite number"]
    assert [rule for rule in RULES if rule in rules.tolist()] == rules.tolist()


def test_labels_that_are_numbers_are_allowed_by_their_text():
    frame = pl.DataFrame({"label": [0, 1, 2], "x": [1, 2, 3]})
    rules = broken_rules(frame, [X], Contract(labels=("0", "2")))
    assert rules is not None
    assert rules.tolist() == [None, "unknown label", None]


def test_a_null_image_is_missing_and_an_image_of_another_length_has_the_wrong_shape():
    frame = pl.DataFrame({"image": pl.Series([[1, 2], None, [1], [1, 300]], dtype=pl.List(pl.Int64))})
    rules = broken_rules(frame, [Feature(name="image", kind="image", shape=(1, 2))], Contract())
    assert rules is not None
    assert rules.tolist() == [None, "missing value", "wrong shape", "not a byte"]
