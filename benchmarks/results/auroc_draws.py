"""AUROC over examples drawn anew: intervals of the difference between two scores of the same examples."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from curation.agreement import auroc
from learners.randomness import generator
from learners.significance import Interval

NUM_DRAWS = 1000
LEVEL = 0.95


def auroc_difference(first: NDArray[np.float64], second: NDArray[np.float64], wrong: NDArray[np.bool_]) -> Interval:
    """AUROC of the first score less that of the second, with its 95 % paired bootstrap interval over examples.

    Both scores meet the same draws. Seeds are not drawn: each score is a mean over its seeds, and that is what is used.

    Args:
        first: (N,) finite numbers, high for likely wrong.
        second: (N,) the same of the other score.
        wrong: (N,) the truth; some are wrong and some are not.
    """
    estimate = auroc(first, wrong) - auroc(second, wrong)
    drawn = [_drawn(one.astype(np.float64).tobytes(), wrong.tobytes()) for one in (first, second)]
    low, high = np.quantile(drawn[0] - drawn[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate=estimate, low=float(low), high=float(high))


@lru_cache(maxsize=512)
def _drawn(suspicion: bytes, wrong: bytes) -> NDArray[np.float64]:
    """(B,) AUROC of each draw; the draws depend on N alone. Kept, since tables are written again row by row."""
    values, truth = np.frombuffer(suspicion, dtype=np.float64), np.frombuffer(wrong, dtype=np.bool_)
    rng, size = generator(0, "bootstrap"), len(values)
    order = np.argsort(values, kind="stable")
    ordered, truth = values[order], truth[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    found = np.empty(NUM_DRAWS)
    for draw in range(NUM_DRAWS):
        visits = np.bincount(rng.integers(size, size=size), minlength=size)[order]
        found[draw] = _area(visits, truth, starts)
    return found


def _area(visits: NDArray[np.int64], wrong: NDArray[np.bool_], starts: NDArray[np.int64]) -> float:
    """AUROC of examples in ascending order, each counted some times; ties, from each start on, count one half."""
    of_wrong = np.add.reduceat(np.where(wrong, visits, 0), starts).astype(np.float64)
    of_right = np.add.reduceat(np.where(wrong, 0, visits), starts).astype(np.float64)
    below = np.cumsum(of_right) - of_right / 2
    return float(of_wrong @ below / (of_wrong.sum() * of_right.sum()))
