import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.selectors.importance_sampling import (
    ImportanceSampling,
    inclusion_probabilities,
    mixed_probabilities,
    systematic_draw,
)
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals


def run(selector: ImportanceSampling, values: list[float], seed: int = 0) -> Selection:
    index = ExampleIndex(f"world:{number:03}" for number in range(len(values)))
    scores = {"el2n": Scores(index=index, values=np.array(values, dtype=float), high_means="hard")}
    return selector(Signals(index=index, arrays={}), scores, np.random.default_rng(seed))


def test_the_mixture_by_hand():
    # Half of (0.6, 0.2, 0.2, 0) and half of one quarter each.
    probs = mixed_probabilities(np.array([0.6, 0.2, 0.2, 0.0]), 0.5)
    np.testing.assert_allclose(probs, [0.425, 0.225, 0.225, 0.125], rtol=1e-12)
    np.testing.assert_allclose(mixed_probabilities(np.zeros(4), 0.0), [0.25] * 4, rtol=1e-12)
    np.testing.assert_allclose(mixed_probabilities(np.array([3.0, 1.0]), 1.0), [0.5, 0.5], rtol=1e-12)


def test_inclusion_by_hand():
    np.testing.assert_allclose(inclusion_probabilities(np.array([0.2, 0.3, 0.5]), 1), [0.2, 0.3, 0.5], rtol=1e-12)
    # Two of (0.7, 0.2, 0.1): 1.4 is capped at 1, the one left is shared 2 to 1.
    np.testing.assert_allclose(inclusion_probabilities(np.array([0.7, 0.2, 0.1]), 2), [1, 2 / 3, 1 / 3], rtol=1e-12)
    # Three of (0.6, 0.25, 0.1, 0.05): 1.8 is capped, then 2 * 0.25 / 0.4 = 1.25 is, then one is shared 2 to 1.
    found = inclusion_probabilities(np.array([0.6, 0.25, 0.1, 0.05]), 3)
    np.testing.assert_allclose(found, [1, 1, 2 / 3, 1 / 3], rtol=1e-12)
    assert inclusion_probabilities(np.array([0.9, 0.1]), 2).tolist() == [1, 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=30), st.floats(0, 1))
def test_inclusion_agrees_with_bisection_for_the_factor(weights, part):
    probs = np.array(weights)
    draws = max(1, round(part * len(probs)))
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(1, middle * probs).sum() < draws else (low, middle)
    found = inclusion_probabilities(probs, draws)
    np.testing.assert_allclose(found, np.minimum(1, high * probs), atol=1e-9)
    drawn = systematic_draw(found, np.random.default_rng(0))
    assert len(np.unique(drawn)) == draws


def test_each_example_is_drawn_as_often_as_it_should_be():
    inclusion = inclusion_probabilities(np.array([8.0, 4.0, 2.0, 1.0, 1.0]), 2)
    rng = np.random.default_rng(0)
    rounds = 4000
    counts = np.bincount(np.concatenate([systematic_draw(inclusion, rng) for _ in range(rounds)]), minlength=5)
    # Standard deviation of a share is at most 0.5 / sqrt(4000) = 0.008.
    np.testing.assert_allclose(counts / rounds, inclusion, atol=0.035)


def test_weights_are_one_over_n_p_below_the_cap():
    values = [0.6, 0.2, 0.2, 0.0]
    selection = run(ImportanceSampling(score="el2n", fraction=0.25, uniform=0.5), values)
    probs = np.array([0.425, 0.225, 0.225, 0.125])
    drawn = np.flatnonzero(selection.kept)
    assert len(drawn) == 1
    np.testing.assert_allclose(selection.weights[drawn], 1 / (4 * probs[drawn]), rtol=1e-6)


def test_the_weighted_mean_of_the_draw_is_unbiased_and_the_plain_one_is_not():
    rng = np.random.default_rng(1)
    scores = rng.uniform(0, 1, size=50) ** 3
    losses = scores + 0.1 * rng.normal(size=50)
    selector = ImportanceSampling(score="el2n", fraction=0.2)
    draws = [run(selector, scores, seed) for seed in range(1500)]
    weighted = [(one.weights[one.kept] * losses[one.kept]).sum() / 10 for one in draws]
    plain = [losses[one.kept].mean() for one in draws]
    error = np.std(weighted) / np.sqrt(len(draws))
    assert abs(np.mean(weighted) - losses.mean()) < 4 * error
    assert np.mean(plain) > losses.mean() + 0.1


def test_drawing_in_proportion_to_the_losses_varies_less_than_drawing_uniformly():
    losses = np.random.default_rng(2).uniform(0, 1, size=60) ** 3
    spread = {}
    for uniform in (0.1, 1.0):
        selector = ImportanceSampling(score="el2n", fraction=0.1, uniform=uniform)
        draws = [run(selector, losses, seed) for seed in range(300)]
        spread[uniform] = np.std([(one.weights[one.kept] * losses[one.kept]).sum() / 6 for one in draws])
    assert spread[0.1] < 0.6 * spread[1.0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=4, max_size=40), st.floats(0.2, 1.0), st.floats(0.05, 1.0))
def test_the_budget_is_exact_and_no_weight_exceeds_the_inverse_of_the_uniform_share(values, fraction, uniform):
    selection = run(ImportanceSampling(score="el2n", fraction=fraction, uniform=uniform), values)
    assert selection.kept.sum() == int(fraction * len(values) + 0.5)
    assert selection.weights.max() <= max(1, 1 / uniform) * (1 + 1e-6)


def test_equal_scores_and_full_draws_weigh_one():
    assert run(ImportanceSampling(score="el2n", fraction=0.5), [0.0] * 6).weights.max() == 1
    assert run(ImportanceSampling(score="el2n", fraction=1.0), [9.0, 1.0, 0.0]).weights.tolist() == [1, 1, 1]


def test_scores_and_settings_that_cannot_be_drawn_by_are_refused():
    with pytest.raises(ValueError, match="needs scores of at least 0; 'el2n' goes down to -1"):
        run(ImportanceSampling(score="el2n", fraction=0.5), [1.0, -1.0])
    with pytest.raises(ValueError, match="1 of 3 examples have the score 0 and could never be drawn"):
        run(ImportanceSampling(score="el2n", fraction=0.5, uniform=0.0), [1.0, 0.0, 2.0])
    with pytest.raises(ValueError, match=r"uniform must be in \[0, 1\], got 1.5"):
        ImportanceSampling(score="el2n", fraction=0.5, uniform=1.5)
