"""Significance: whether one learner is better than another, and how sure that is.

Choice of tests: Raschka, "Model Evaluation, Model Selection, and Algorithm Selection in Machine
Learning", 2018. https://arxiv.org/abs/1811.12808
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from learners.randomness import generator

Positions = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with the bounds of its confidence interval."""

    estimate: float
    """Value on the data as they are."""
    low: float
    """Lower bound."""
    high: float
    """Upper bound."""

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(
    statistic: Callable[[Positions, Positions], float],
    *,
    num_examples: int,
    num_seeds: int = 1,
    level: float = 0.95,
    num_replicates: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of any statistic, drawing seeds and examples anew with replacement.

    A statistic with a minimum or a ranking inside is computed afresh in every replicate.

    Args:
        statistic: number of (R,) rows of seeds and (N,) positions of examples.
        num_examples: N, at least 1.
        num_seeds: R, at least 1; with 1 only examples vary.
        level: share of the distribution inside the interval, in (0, 1).
        num_replicates: draws, at least 100.
        seed: of the draws, at least 0.

    Raises:
        ValueError: a setting out of range.
    """
    _check_bootstrap(level, num_replicates)
    rng = generator(seed, "bootstrap")
    values = [
        statistic(rng.integers(num_seeds, size=num_seeds), rng.integers(num_examples, size=num_examples))
        for _ in range(num_replicates)
    ]
    return _percentiles(statistic(np.arange(num_seeds), np.arange(num_examples)), np.asarray(values), level)


def paired_difference(
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    *,
    level: float = 0.95,
    num_replicates: int = 2000,
    seed: int = 0,
) -> Interval:
    """Mean of first - second with its paired bootstrap interval over examples and seeds.

    Args:
        first: (N,) or (R, N) numbers of one learner, such as whether each prediction is right; row r of both
            is the same seed, column n the same example.
        second: of the other learner, in the same shape.
        level: share of the distribution inside the interval, in (0, 1).
        num_replicates: draws, at least 100.
        seed: of the draws, at least 0.

    Raises:
        ValueError: shapes that differ, or a setting out of range.
    """
    if first.shape != second.shape or first.ndim not in (1, 2) or not first.size:
        raise ValueError(f"first and second must both be (N,) or (R, N), got {first.shape} and {second.shape}")
    _check_bootstrap(level, num_replicates)
    differences = np.atleast_2d(first.astype(np.float64) - second.astype(np.float64))
    num_seeds, num_examples = differences.shape
    rng = generator(seed, "bootstrap")
    values = np.empty(num_replicates)
    for replicate in range(num_replicates):
        times = np.bincount(rng.integers(num_seeds, size=num_seeds), minlength=num_seeds) / num_seeds
        visits = np.bincount(rng.integers(num_examples, size=num_examples), minlength=num_examples) / num_examples
        values[replicate] = times @ differences @ visits
    return _percentiles(float(differences.mean()), values, level)


def _check_bootstrap(level: float, num_replicates: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    if num_replicates < 100:
        raise ValueError(f"num_replicates must be at least 100, got {num_replicates}")


def _percentiles(estimate: float, values: NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate=float(estimate), low=float(low), high=float(high))


def wilson_interval(num_right: int, num_examples: int, *, level: float = 0.95) -> Interval:
    """An accuracy with its Wilson score interval, inside [0, 1].

    Args:
        num_right: right predictions.
        num_examples: all predictions, at least 1.
        level: confidence, in (0, 1).
    """
    found = stats.binomtest(num_right, num_examples).proportion_ci(confidence_level=level, method="wilson")
    return Interval(estimate=num_right / num_examples, low=float(found.low), high=float(found.high))


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """McNemar's test of two fixed models on one test set; it knows nothing of training variance."""

    first_only: int
    """Examples that only the first model has right."""
    second_only: int
    """Examples that only the second model has right."""
    exact: float
    """Two-sided binomial p-value."""
    mid: float
    """The same less the probability of what was observed: less conservative."""
    chi_squared: float
    """Statistic with continuity correction, 1 degree of freedom."""
    approximate: float
    """p-value of `chi_squared`."""


def mcnemar(first_correct: NDArray[np.bool_], second_correct: NDArray[np.bool_]) -> McNemar:
    """Test whether two models are equally often right where they differ.

    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika, 1947. https://doi.org/10.1007/BF02295996

    Args:
        first_correct: (N,) whether the first model is right.
        second_correct: (N,) whether the second model is right, on the same examples.

    Raises:
        ValueError: shapes that differ.
    """
    if first_correct.shape != second_correct.shape:
        raise ValueError(f"both must be (N,) over the same examples, got {first_correct.shape}, {second_correct.shape}")
    b = int((first_correct & ~second_correct).sum())
    c = int((~first_correct & second_correct).sum())
    if b + c == 0:
        return McNemar(first_only=0, second_only=0, exact=1.0, mid=1.0, chi_squared=0.0, approximate=1.0)
    chi_squared = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    tail = float(stats.binom.cdf(min(b, c), b + c, 0.5))
    at = float(stats.binom.pmf(min(b, c), b + c, 0.5))
    return McNemar(
        first_only=b,
        second_only=c,
        exact=min(1.0, 2 * tail),
        mid=min(1.0, 2 * tail - at),
        chi_squared=chi_squared,
        approximate=float(stats.chi2.sf(chi_squared, 1)),
    )


@dataclass(frozen=True, kw_only=True)
class FTest:
    """A combined 5x2cv F test; NaN where no halving showed any variance."""

    statistic: float
    """F, high where the algorithms differ."""
    p_value: float
    """Probability of at least that under equality."""


def combined_f_test(differences: NDArray[np.floating]) -> FTest:
    """Compare two learners by five halvings of the data, each half once trained on.

    Alpaydin, "Combined 5x2cv F Test for Comparing Supervised Classification Learning Algorithms",
    Neural Computation 11, 1999. https://doi.org/10.1162/089976699300016007

    Args:
        differences: (5, 2) score differences, one per halving and fold.

    Raises:
        ValueError: another shape.
    """
    if differences.shape != (5, 2):
        raise ValueError(f"differences must be (5, 2), one per halving and fold, got {differences.shape}")
    variances = ((differences - differences.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    if variances.sum() == 0:
        return FTest(statistic=math.nan, p_value=math.nan)
    statistic = float((differences**2).sum() / (2 * variances.sum()))
    return FTest(statistic=statistic, p_value=float(stats.f.sf(statistic, 10, 5)))


def holm_adjusted(p_values: Sequence[float]) -> NDArray[np.float64]:
    """p-values adjusted for how many there are: compare each with the level as it stands.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6, 1979. https://www.jstor.org/stable/4615733

    Args:
        p_values: m values in [0, 1], at least 1.

    Returns:
        (m,) in the order given, each at least the value it was made from and at most 1.

    Raises:
        ValueError: none given, or one outside [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values must be at least one number in [0, 1], got {list(p_values)}")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
