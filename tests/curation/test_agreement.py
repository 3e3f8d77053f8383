from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.agreement import auroc, average_precision, precision_at, spearman

TRUTHS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=9)


def split(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(value) for value, _ in rows]), np.array([wrong for _, wrong in rows], dtype=np.bool_)


def test_four_examples_worked_out_by_hand():
    suspicion, wrong = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])
    # Pairs of wrong and right: 0.9 beats both, 0.7 beats 0.1 only: 3 of 4.
    assert auroc(suspicion, wrong) == pytest.approx(0.75)
    # Wrong ones are found at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert average_precision(suspicion, wrong) == pytest.approx(5 / 6)
    assert precision_at(suspicion, wrong, 1) == 1.0
    assert precision_at(suspicion, wrong, 2) == 0.5
    assert precision_at(suspicion, wrong, 3) == pytest.approx(2 / 3)


def test_a_tie_at_the_cut_counts_its_expected_value():
    suspicion, wrong = np.array([2.0, 1.0, 1.0, 1.0]), np.array([False, True, True, False])
    # The first is right; one of the three tied ones follows, of which two are wrong: (0 + 2/3) / 2.
    assert precision_at(suspicion, wrong, 2) == pytest.approx(1 / 3)


@settings(max_examples=40, deadline=None)
@given(TRUTHS)
def test_auroc_agrees_with_counting_pairs(rows):
    suspicion, wrong = split(rows)
    if wrong.all() or not wrong.any():
        with pytest.raises(ValueError, match="AUROC needs wrong and right labels"):
            auroc(suspicion, wrong)
        return
    pairs = [(a > b) + (a == b) / 2 for a, b in product(suspicion[wrong], suspicion[~wrong])]
    assert auroc(suspicion, wrong) == pytest.approx(np.mean(pairs))
    assert auroc(-suspicion, wrong) == pytest.approx(1 - np.mean(pairs))


@settings(max_examples=40, deadline=None)
@given(TRUTHS, st.integers(1, 9))
def test_precision_agrees_with_trying_every_choice_of_the_most_suspicious(rows, count):
    suspicion, wrong = split(rows)
    count = min(count, len(rows))
    chosen = [list(subset) for subset in combinations(range(len(rows)), count)]
    best = max(suspicion[subset].sum() for subset in chosen)
    ways = [wrong[subset].mean() for subset in chosen if suspicion[subset].sum() == best]
    assert precision_at(suspicion, wrong, count) == pytest.approx(np.mean(ways))


def test_spearman_agrees_with_the_correlation_of_mean_ranks():
    a, b = np.array([1.0, 2.0, 2.0, 5.0]), np.array([10.0, 40.0, 30.0, 20.0])
    # Ranks (1, 2.5, 2.5, 4) and (1, 4, 3, 2): covariance sum 1.5, sums of squares 4.5 and 5.
    assert spearman(a, b) == pytest.approx(1.5 / np.sqrt(4.5 * 5))
    assert spearman(a, np.exp(a)) == pytest.approx(1.0)
    assert spearman(a, -a) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda: auroc(np.ones(3), np.zeros(3, dtype=bool)), "no label is wrong among 3"),
        (lambda: auroc(np.ones(3), np.ones(3, dtype=bool)), "all labels are wrong among 3"),
        (lambda: average_precision(np.ones(3), np.zeros(3, dtype=bool)), "no label is wrong among 3"),
        (lambda: auroc(np.ones(2), np.ones(3, dtype=bool)), "suspicion has 2 rows, but wrong has 3"),
        (lambda: auroc(np.array([np.nan, 1]), np.array([True, False])), "suspicion is not finite for 1 of 2"),
        (lambda: precision_at(np.ones(3), np.ones(3, dtype=bool), 0), r"count must be in \[1, 3\], got 0"),
        (lambda: precision_at(np.ones(3), np.ones(3, dtype=bool), 4), r"count must be in \[1, 3\], got 4"),
        (lambda: spearman(np.ones(3), np.arange(3.0)), "the first score is 1 for all 3 examples"),
        (lambda: spearman(np.arange(3.0), np.ones(3)), "the second score is 1 for all 3 examples"),
        (lambda: spearman(np.arange(3.0), np.arange(4.0)), "equally long scores .* got 3 and 4"),
    ],
)
def test_what_cannot_be_measured_is_refused(measure, message):
    with pytest.raises(ValueError, match=message):
        measure()


def test_the_truth_must_be_boolean():
    with pytest.raises(TypeError, match="wrong must be Boolean, got int64"):
        auroc(np.ones(2), np.array([0, 1]))
