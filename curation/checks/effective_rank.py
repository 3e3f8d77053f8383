"""Effective rank: how many directions embeddings really use, and whether a selection left fewer of them.

RankMe: Garrido, Balestriero, Najman, LeCun, "RankMe: Assessing the Downstream Performance of Pretrained
Self-Supervised Representations by Their Rank", ICML 2023. https://arxiv.org/abs/2210.02885

Differs from the paper: nothing is added to the shares of the singular values, which double precision does not need.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 4096
"""Rows of which the singular values are computed at most."""
NUM_DRAWS = 3
"""Draws that the ranks are the means of, where not all rows are taken."""


@dataclass(frozen=True, kw_only=True)
class RankComparison:
    """Effective ranks of what was kept and of as many rows of the pool, since the rank grows with the rows."""

    kept: float
    """Of the rows kept: the mean over draws where there are more than `num_rows`."""
    pool: float
    """Mean over draws from the pool."""
    pool_spread: float
    """Standard deviation over these draws; 0 where every row of the pool is taken."""
    num_rows: int
    """Rows in each draw."""
    num_columns: int
    """Numbers in each row; neither rank can be above this or `num_rows`."""


def effective_rank(rows: NDArray[np.floating]) -> float:
    """The exponential of the entropy of the singular values' shares in their sum.

    Args:
        rows: (N, D) finite numbers, not all 0; neither centred nor scaled here.

    Returns:
        A number in [1, min(N, D)]: 1 where all rows are multiples of one, D where all directions weigh alike.

    Raises:
        ValueError: there is nothing but zeros.
    """
    values = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
    if not values.sum() > 0:
        raise ValueError(f"the effective rank needs a number other than 0, got {rows.shape[0]} rows of zeros")
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def rank_comparison(
    rows: NDArray[np.floating], kept: NDArray[np.bool_], generator: np.random.Generator
) -> RankComparison:
    """Effective ranks of the rows kept and of the pool, at an equal number of rows.

    Args:
        rows: (N, D) finite numbers of the whole pool.
        kept: (N,) which rows were kept, at least one.
        generator: draws the rows.
    """
    count = min(MAX_ROWS, int(kept.sum()))
    of_kept = _ranks(rows, np.flatnonzero(kept), count, generator)
    of_pool = _ranks(rows, np.arange(len(rows)), count, generator)
    return RankComparison(
        kept=float(np.mean(of_kept)),
        pool=float(np.mean(of_pool)),
        pool_spread=float(np.std(of_pool, ddof=1)) if len(of_pool) > 1 else 0.0,
        num_rows=count,
        num_columns=rows.shape[1],
    )


def _ranks(
    rows: NDArray[np.floating], among: NDArray[np.int64], count: int, generator: np.random.Generator
) -> list[float]:
    """Effective ranks of draws without repetition; of all rows, once, where all are wanted."""
    if len(among) == count:
        return [effective_rank(rows[among])]
    return [effective_rank(rows[np.sort(generator.choice(among, count, replace=False))]) for _ in range(NUM_DRAWS)]
