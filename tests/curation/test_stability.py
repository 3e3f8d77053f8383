from dataclasses import dataclass

import numpy as np
import pytest

from curation.scorer import Scorer, mean_over_seeds
from curation.stability import halves_agreement
from storage.index import ExampleIndex
from storage.values import Signals


@dataclass(frozen=True, kw_only=True)
class Mean(Scorer):
    """The mean of signal `number` over seeds."""

    reads = ("number",)
    high_means = "hard"
    per_example = True

    def __call__(self, signals):
        return mean_over_seeds(signals.index, signals["number"][:, :, 0], high_means="hard")


def agreement(by_seed):
    numbers = np.array(by_seed, dtype=float)
    index = ExampleIndex(f"a:{row}" for row in range(numbers.shape[1]))
    arrays = {"number": numbers[:, :, None], "label": np.zeros(numbers.shape[1], dtype=int)}
    return halves_agreement(Mean(), Signals(index=index, arrays=arrays, epochs={"number": (1,)}))


def test_two_seeds_are_compared_with_each_other():
    assert agreement([[1, 2, 3], [10, 20, 30]]) == pytest.approx(1)
    assert agreement([[1, 2, 3], [3, 2, 1]]) == pytest.approx(-1)
    # Ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6.
    assert agreement([[1, 2, 3, 4], [2, 1, 4, 3]]) == pytest.approx(0.6)


def test_the_first_third_and_fifth_seed_are_compared_with_the_others():
    # Means (1, 2, 3, 4) of the odd seeds and (2, 1, 4, 3) of the even ones.
    odd, even = [[0, 2, 3, 4], [1, 1, 3, 4], [2, 3, 3, 4]], [[2, 0, 4, 3], [2, 2, 4, 3]]
    assert agreement([odd[0], even[0], odd[1], even[1], odd[2]]) == pytest.approx(0.6)


def test_one_seed_and_halves_without_an_order_say_nothing():
    assert agreement([[1, 2, 3]]) is None
    assert agreement([[1, 2, 3], [5, 5, 5]]) is None
