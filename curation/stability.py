"""Stability: whether a ranking has settled, by what two halves of its seeds say of it."""

import numpy as np

from curation.agreement import spearman
from curation.scorer import Scorer
from storage.values import Signals


def halves_agreement(scorer: Scorer, signals: Signals) -> float | None:
    """Spearman's correlation between the scores from every other seed and those from the rest.

    It says less of the scores from all seeds than these deserve, since each half has fewer.

    Args:
        scorer: is asked twice.
        signals: recorded with R seeds.

    Returns:
        Correlation in [-1, 1]; None for a single seed, and where a half gives all examples the same score.
    """
    num_seeds = min((len(signals[name]) for name in signals.epochs), default=1)
    if num_seeds < 2 or len(signals) < 2:
        return None
    values = [scorer(_of_seeds(signals, slice(first, None, 2))).values for first in (0, 1)]
    if any(np.ptp(one) == 0 for one in values):
        return None
    return spearman(*values)


def _of_seeds(signals: Signals, seeds: slice) -> Signals:
    arrays = {name: array[seeds] if name in signals.epochs else array for name, array in signals.arrays.items()}
    return Signals(index=signals.index, arrays=arrays, epochs=signals.epochs, categories=signals.categories)
