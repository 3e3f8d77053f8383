"""Agreement: how well a score finds the labels that are known to be wrong, and how alike two scores are.

`suspicion` is high where an example is more likely wrong (`Scores.suspicion`); `wrong` is the
truth, `label != clean_label`. The arithmetic is scikit-learn's and SciPy's.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score


def auroc(suspicion: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Probability that a wrong label is more suspicious than a right one; a tie counts one half.

    Args:
        suspicion: (N,) finite numbers, high for likely wrong.
        wrong: (N,) the truth.

    Returns:
        Area under the ROC curve in [0, 1]: 1 is perfect, 0.5 is chance.

    Raises:
        ValueError: no label is wrong, or all are.
    """
    _check_truth(suspicion, wrong)
    if wrong.all() or not wrong.any():
        found = "all labels are wrong" if wrong.all() else "no label is wrong"
        raise ValueError(f"AUROC needs wrong and right labels, but {found} among {len(wrong)}")
    return float(roc_auc_score(wrong, suspicion))


def average_precision(suspicion: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Precision averaged over the ranks at which wrong labels are found.

    Args:
        suspicion: (N,) finite numbers, high for likely wrong.
        wrong: (N,) the truth.

    Returns:
        Average precision in [0, 1]; chance gives about the share of wrong labels.

    Raises:
        ValueError: no label is wrong.
    """
    _check_truth(suspicion, wrong)
    if not wrong.any():
        raise ValueError(f"average precision needs wrong labels, but no label is wrong among {len(wrong)}")
    return float(average_precision_score(wrong, suspicion))


def precision_at(suspicion: NDArray[np.floating], wrong: NDArray[np.bool_], count: int) -> float:
    """Share of wrong labels among the most suspicious examples.

    Args:
        suspicion: (N,) finite numbers, high for likely wrong.
        wrong: (N,) the truth.
        count: how many of the most suspicious are looked at, in [1, N].

    Returns:
        Precision in [0, 1]. Where examples tie at the cut, it is the expected value over all
        ways to break the tie.
    """
    _check_truth(suspicion, wrong)
    if not 1 <= count <= len(wrong):
        raise ValueError(f"count must be in [1, {len(wrong)}], got {count}")
    cut = np.partition(suspicion, len(suspicion) - count)[len(suspicion) - count]
    above = suspicion > cut
    tied = suspicion == cut
    found = wrong[above].sum() + (count - above.sum()) * wrong[tied].mean()
    return float(found / count)


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Rank correlation of two scores; ties get their mean rank.

    Args:
        a: (N,) finite numbers, N at least 2.
        b: (N,) finite numbers.

    Returns:
        Correlation in [-1, 1]: 1 for the same order, -1 for the opposite one.

    Raises:
        ValueError: one of the two is constant, so that it has no order.
    """
    _check_finite("the first score", a)
    _check_finite("the second score", b)
    if a.shape != b.shape or len(a) < 2:
        raise ValueError(f"two equally long scores of at least 2 examples are needed, got {len(a)} and {len(b)}")
    for name, values in (("first", a), ("second", b)):
        if values.min() == values.max():
            raise ValueError(f"the {name} score is {values[0]:g} for all {len(a)} examples and has no order")
    return float(spearmanr(a, b).statistic)


def _check_truth(suspicion: NDArray[np.floating], wrong: NDArray[np.bool_]) -> None:
    if wrong.dtype != np.bool_:
        raise TypeError(f"wrong must be Boolean, got {wrong.dtype}")
    if suspicion.shape != wrong.shape:
        raise ValueError(f"suspicion has {len(suspicion)} rows, but wrong has {len(wrong)}")
    _check_finite("suspicion", suspicion)


def _check_finite(name: str, values: NDArray[np.floating]) -> None:
    broken = int((~np.isfinite(values)).sum())
    if broken:
        raise ValueError(f"{name} is not finite for {broken} of {len(values)} examples")
