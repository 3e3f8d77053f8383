import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.checks.two_samples import (
    MIN_ROWS,
    NUM_FOLDS,
    are_enough,
    auroc_with_variance,
    bag_of_words,
    folds,
    two_samples,
)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def gaussian(seed: int, shift: float, sizes: tuple[int, int] = (150, 100)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    belongs = np.arange(sum(sizes)) < sizes[0]
    return rng.normal(size=(sum(sizes), 3)) + shift * belongs[:, None], belongs


def test_area_and_variance_by_hand():
    # 3 is above both of (1, 2.5), 2 above one: shares 1 and 0.5, mean 0.75, variance 0.125 over 2 rows; the other
    # sample has the same shares, so that the variance is 0.0625 + 0.0625.
    assert auroc_with_variance(np.array([3.0, 2.0]), np.array([1.0, 2.5])) == pytest.approx((0.75, 0.125))
    # All four pairs tie and count one half.
    assert auroc_with_variance(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == pytest.approx((0.5, 0.0))
    assert auroc_with_variance(np.array([5.0, 4.0]), np.array([1.0, 2.0])) == pytest.approx((1.0, 0.0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_area_and_variance_agree_with_a_loop_over_pairs(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(6, size=9).astype(float), rng.integers(6, size=5).astype(float)
    wins = np.array([[(a > b) + 0.5 * (a == b) for b in second] for a in first])
    expected = wins.mean(axis=1).var(ddof=1) / 9 + wins.mean(axis=0).var(ddof=1) / 5
    assert auroc_with_variance(first, second) == pytest.approx((wins.mean(), expected))


def test_rows_of_equal_content_share_a_fold_and_both_samples_are_spread():
    belongs = np.arange(300) < 100
    contents = np.concatenate([np.arange(100), np.arange(50, 250)])
    fold = folds(belongs, contents, generator())
    assert all(len(set(fold[contents == one])) == 1 for one in range(250))
    for side in (belongs, ~belongs):
        counts = np.bincount(fold[side], minlength=NUM_FOLDS)
        assert counts.max() - counts.min() <= 2


def test_shifted_samples_are_told_apart_as_well_as_theory_says():
    rows, belongs = gaussian(1, 0.5, (900, 900))
    found = two_samples(rows, belongs, np.arange(1800), generator())
    # The best rule sees a shift of 0.5 * sqrt(3) deviations: AUROC = Phi(0.866 / sqrt(2)) = 0.730.
    assert found.auroc == pytest.approx(0.730, abs=0.03)
    assert found.low < 0.730 < found.high
    assert found.high - found.low < 0.08
    assert found.is_distinguishable
    assert found.sentence("the subset", "the pool") == (
        "the subset is distinguishable from the pool by a linear classifier: "
        f"AUROC {found.auroc:.2f} [{found.low:.2f}, {found.high:.2f}]"
    )


def test_samples_of_one_distribution_are_seldom_told_apart():
    found = []
    for seed in range(20):
        rows, belongs = gaussian(seed, 0.0)
        found.append(two_samples(rows, belongs, np.arange(250), generator()))
    assert sum(one.is_distinguishable for one in found) <= 2
    assert np.mean([one.auroc for one in found]) == pytest.approx(0.5, abs=0.03)
    assert "not shown to be distinguishable" in min(found, key=lambda one: one.low).sentence("a", "b")


def test_neither_scale_nor_shift_of_a_column_changes_anything():
    rows, belongs = gaussian(2, 0.4)
    plain = two_samples(rows, belongs, np.arange(250), generator())
    moved = two_samples(rows * [1e-6, 1.0, 1e6] + [5.0, -3.0, 1e5], belongs, np.arange(250), generator())
    assert moved.auroc == pytest.approx(plain.auroc, abs=1e-3)


def test_twins_across_the_samples_do_not_help():
    rng = np.random.default_rng(3)
    half = rng.normal(size=(100, 40))
    rows, contents = np.concatenate([half, half]), np.tile(np.arange(100), 2)
    assert two_samples(rows, np.arange(200) < 100, contents, generator()).auroc == pytest.approx(0.5)


def test_a_word_of_one_sample_is_found_as_often_as_it_occurs():
    rng = np.random.default_rng(4)
    names = np.array(["ash", "birch", "cedar", "elm", "fir"])
    texts = [" ".join(rng.choice(names, 6)) + (" yew" if row < 180 else "") for row in range(600)]
    belongs = np.arange(600) < 300
    found = two_samples(bag_of_words(texts), belongs, np.arange(600), generator())
    # The word is in 60 % of one sample and in none of the other: (1 + 0.6) / 2.
    assert found.auroc == pytest.approx(0.8, abs=0.03)


def test_a_bag_of_words_forgets_order_case_and_length():
    bags = bag_of_words(["Fir elm  elm", "elm fir ELM", "fir", ""]).toarray()
    np.testing.assert_array_equal(bags[0], bags[1])
    np.testing.assert_allclose(np.square(bags).sum(axis=1), [1, 1, 1, 0])
    # log 3 and log 2 before they are brought to length 1.
    np.testing.assert_allclose(
        sorted(bags[0][bags[0] > 0]), np.array([np.log(2), np.log(3)]) / np.hypot(*np.log([2, 3]))
    )


def test_too_few_rows_of_different_content_are_refused():
    rows, belongs = gaussian(5, 0.0, (MIN_ROWS, MIN_ROWS))
    contents = np.arange(2 * MIN_ROWS)
    assert are_enough(belongs, contents)
    two_samples(rows, belongs, contents, generator())
    contents[1] = contents[0]
    assert not are_enough(belongs, contents)
    with pytest.raises(ValueError, match="at least 20 rows of different content, got 20 and 20 rows"):
        two_samples(rows, belongs, contents, generator())


def test_rows_far_from_the_middle_are_told_apart_by_their_spread():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(600, 4))
    far = np.square(rows).sum(axis=1) > 5
    found = two_samples(rows, far, np.arange(600), rng)
    assert found.auroc > 0.95
