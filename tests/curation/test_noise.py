from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from curation.noise import (
    Asymmetric,
    Symmetric,
    TransitionMatrix,
    asymmetric_matrix,
    check_matrix,
    flip_labels,
    realised_rate,
    symmetric_matrix,
    transition_counts,
)
from storage.index import ExampleIndex


def test_symmetric_noise_of_three_classes_by_hand():
    expected = [[0.7, 0.15, 0.15], [0.15, 0.7, 0.15], [0.15, 0.15, 0.7]]
    np.testing.assert_allclose(Symmetric(rate=0.3).matrix(3), expected)


def test_elr_generators_rate_converts_as_documented():
    # A share 0.4 of labels drawn from all ten classes: 0.4 / 10 for each wrong class, 0.36 wrong in all.
    matrix = symmetric_matrix(10, 0.4 * (1 - 1 / 10))
    np.testing.assert_allclose(matrix, 0.6 * np.eye(10) + 0.4 / 10)
    assert 1 - matrix[0, 0] == pytest.approx(0.36)


def test_asymmetric_noise_by_hand():
    expected = [[0.6, 0.4, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(Asymmetric(rate=0.4, pairs=((0, 1), (1, 0))).matrix(3), expected)


def test_the_usual_asymmetric_noise_of_cifar_10_flips_a_fifth_of_its_labels():
    # truck to automobile, bird to airplane, deer to horse, cat and dog to each other: five of ten
    # classes at 0.4. All flips are drawn from the clean labels, so no cat comes back.
    matrix = Asymmetric(rate=0.4, pairs=((9, 1), (2, 0), (4, 7), (3, 5), (5, 3))).matrix(10)
    assert np.mean(1 - np.diag(matrix)) == pytest.approx(0.2)
    assert matrix[3, 5] == matrix[5, 3] == 0.4


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.floats(0, 1))
def test_symmetric_matrices_are_transition_matrices_with_that_rate(num_classes, rate):
    matrix = symmetric_matrix(num_classes, rate)
    check_matrix(matrix, num_classes)
    np.testing.assert_allclose(1 - np.diag(matrix), rate, atol=1e-12)


def test_flips_follow_the_matrix_within_what_chance_allows():
    matrix = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0], [0.1, 0.0, 0.9]])
    clean = np.repeat([0, 1, 2], 4000)
    labels = flip_labels(clean, matrix, np.random.default_rng(0))
    counts = transition_counts(labels, clean, 3)
    low, high = binom.interval(1 - 1e-6, 4000, matrix)
    assert (counts >= np.nan_to_num(low)).all()
    assert (counts <= high).all()
    assert counts[1].tolist() == [0, 4000, 0]
    assert counts[2, 1] == 0
    assert counts.sum(axis=1).tolist() == [4000] * 3


def test_draws_agree_with_a_loop_that_adds_up_probabilities():
    matrix = np.array([[0.5, 0.3, 0.2], [0.25, 0.5, 0.25], [0.0, 0.4, 0.6]])
    clean = np.array([0, 1, 2, 2, 1, 0, 0, 2])
    chances = np.random.default_rng(3).random(8)
    slow = []
    for label, chance in zip(clean, chances, strict=True):
        new, reached = 0, matrix[label, 0]
        while chance >= reached:
            new += 1
            reached += matrix[label, new]
        slow.append(new)
    assert flip_labels(clean, matrix, np.random.default_rng(3)).tolist() == slow


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_classes_of_probability_zero_are_never_drawn(seed, num_classes):
    rng = np.random.default_rng(seed)
    matrix = rng.dirichlet(np.ones(num_classes), size=num_classes)
    matrix[rng.random(matrix.shape) < 0.5] = 0
    np.fill_diagonal(matrix, matrix.diagonal() + 0.01)
    matrix /= matrix.sum(axis=1, keepdims=True)
    clean = rng.integers(num_classes, size=50)
    labels = flip_labels(clean, matrix, rng)
    assert (matrix[clean, labels] > 0).all()


def test_a_number_on_the_boundary_goes_to_the_next_class_and_past_classes_of_probability_zero():
    matrix = np.array([[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    dealt = SimpleNamespace(random=lambda count: np.array([0.0, 0.25, 0.5, 0.75][:count]))
    assert flip_labels(np.zeros(4, dtype=int), matrix, dealt).tolist() == [1, 1, 2, 2]


def test_rate_zero_changes_nothing_and_rate_one_everything():
    clean = np.arange(200) % 4
    rng = np.random.default_rng(0)
    assert realised_rate(flip_labels(clean, symmetric_matrix(4, 0.0), rng), clean) == 0
    assert realised_rate(flip_labels(clean, symmetric_matrix(4, 1.0), rng), clean) == 1


def test_with_ids_the_order_of_the_rows_does_not_matter():
    clean = np.random.default_rng(0).integers(5, size=100)
    index = ExampleIndex(f"world:{number}" for number in range(100))
    matrix = symmetric_matrix(5, 0.4)
    labels = flip_labels(clean, matrix, np.random.default_rng(7), index=index)
    positions = np.random.default_rng(1).permutation(100)
    permuted = flip_labels(clean[positions], matrix, np.random.default_rng(7), index=index.take(positions))
    np.testing.assert_array_equal(permuted, labels[positions])
    assert 0.2 < realised_rate(labels, clean) < 0.6


def test_realised_noise_by_hand():
    clean = np.array([0, 0, 0, 1, 1])
    labels = np.array([0, 1, 1, 1, 0])
    assert realised_rate(labels, clean) == pytest.approx(3 / 5)
    assert transition_counts(labels, clean, 3).tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 0]]


def test_a_matrix_written_out_is_checked_against_the_number_of_classes():
    noise = TransitionMatrix(rows=((0.9, 0.1), (0.2, 0.8)))
    np.testing.assert_array_equal(noise.matrix(2), [[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(ValueError, match=r"transition_matrix must be 3 x 3, got \(2, 2\)"):
        noise.matrix(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Symmetric(rate=1.4), r"rate must be in \[0, 1\], got 1.4"),
        (lambda: Symmetric(rate=0.2).matrix(1), "num_classes must be at least 2, got 1"),
        (lambda: Asymmetric(rate=-0.1, pairs=((0, 1),)), r"rate must be in \[0, 1\], got -0.1"),
        (lambda: Asymmetric(rate=0.1, pairs=()), "pairs must name at least one"),
        (lambda: asymmetric_matrix(3, ((0, 3),), 0.1), r"two different classes in \[0, 3\), got \(0, 3\)"),
        (lambda: asymmetric_matrix(3, ((1, 1),), 0.1), r"two different classes in \[0, 3\), got \(1, 1\)"),
        (lambda: asymmetric_matrix(3, ((0, 1), (0, 2)), 0.1), "each source class may occur once"),
        (lambda: TransitionMatrix(rows=((1.0,), (0.5, 0.5))), "rows must form a square matrix"),
        (lambda: TransitionMatrix(rows=()), "rows must form a square matrix"),
        (lambda: TransitionMatrix(rows=((0.9, 0.2), (0.0, 1.0))), "must sum to 1, row 0 sums to 1.1"),
        (lambda: TransitionMatrix(rows=((1.1, -0.1), (0.0, 1.0))), r"probabilities in \[0, 1\], got -0.1 to 1.1"),
        (
            lambda: flip_labels(np.array([0, 2]), symmetric_matrix(2, 0.1), np.random.default_rng(0)),
            r"clean_labels must be in \[0, 2\), got 0 to 2",
        ),
        (lambda: realised_rate(np.array([0]), np.array([0, 1])), "equally long and not empty, got 1 and 2"),
        (lambda: transition_counts(np.array([5]), np.array([0]), 2), r"labels must be in \[0, 2\), got 5 to 5"),
    ],
)
def test_impossible_noise_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
