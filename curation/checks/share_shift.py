"""Share shift: which classes or groups a selection left with another share than they had in the pool.

The whole table is tested by the G-test (Sokal, Rohlf, "Biometry", 4th edition, 2012), each row by Fisher's exact test
(Fisher, "The Logic of Inductive Inference", Journal of the Royal Statistical Society 98, 1935,
https://doi.org/10.2307/2342435), both as in SciPy. The rows' p-values are adjusted for their number after Holm, "A
Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
https://www.jstor.org/stable/4615733
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, fisher_exact


@dataclass(frozen=True, kw_only=True)
class PartShift:
    """One class or group before and after a selection."""

    name: str
    pool: int
    """Examples of it in the pool."""
    kept: int
    """How many of them were kept."""
    pool_share: float
    """Its share of the pool, in [0, 1]."""
    kept_share: float
    """Its share of what was kept, in [0, 1]; 0 where nothing was kept."""
    p_value: float
    """Probability of a shift at least as unlikely if the selection had not looked at the part, adjusted for the
    number of parts."""

    @property
    def shift(self) -> float:
        """By how much the share grew, in [-1, 1]."""
        return self.kept_share - self.pool_share


@dataclass(frozen=True, kw_only=True)
class ShareShift:
    """All classes or groups before and after a selection, the largest shift first."""

    parts: tuple[PartShift, ...]
    p_value: float | None
    """Of the whole table; None where everything or nothing was kept, or the pool has one part."""


def share_shift(positions: NDArray[np.int64], names: Sequence[str], kept: NDArray[np.bool_]) -> ShareShift:
    """How the shares of classes or groups shifted.

    Args:
        positions: (N,) class or group of each example of the pool as a position in `names`; -1 belongs to none.
        names: G names.
        kept: (N,) what the selection kept.

    Returns:
        A row for each name that occurs in the pool; equal shifts follow the order of the names.
    """
    known = positions >= 0
    pool = np.bincount(positions[known], minlength=len(names))
    left = np.bincount(positions[known & kept], minlength=len(names))
    present = np.flatnonzero(pool)
    pool, left = pool[present], left[present]
    total, num_kept = int(pool.sum()), int(left.sum())
    p_values = holm_adjusted([_fisher(int(a), int(b), num_kept, total) for a, b in zip(left, pool, strict=True)])
    parts = [
        PartShift(
            name=names[int(place)],
            pool=int(size),
            kept=int(number),
            pool_share=float(size / total),
            kept_share=float(number / max(num_kept, 1)),
            p_value=float(p_value),
        )
        for place, size, number, p_value in zip(present, pool, left, p_values, strict=True)
    ]
    tested = len(present) > 1 and 0 < num_kept < total
    table = np.stack([left, pool - left])
    p_value = float(chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue) if tested else None
    # The shift as a whole number, so that equal ones are equal.
    parts.sort(key=lambda one: -abs(one.kept * total - one.pool * num_kept))
    return ShareShift(parts=tuple(parts), p_value=p_value)


def holm_adjusted(p_values: Sequence[float]) -> NDArray[np.float64]:
    """(m,) p-values adjusted for how many there are, in the order given; each in [0, 1]."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return adjusted


def _fisher(kept: int, size: int, num_kept: int, total: int) -> float:
    """Two-sided p-value that a part of this size has so many kept."""
    others = num_kept - kept
    return float(fisher_exact([[kept, size - kept], [others, total - size - others]]).pvalue)
