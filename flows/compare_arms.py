"""Comparison of arms: what each is worth on the test split, and whether one is better than the first.

Chance is in the test examples and in the seeds. The interval is of the paired bootstrap over both. The p-value is
McNemar's, exact, for each seed's two models; of several seeds twice the median, which holds however they depend on
each other (Meinshausen, Meier, Bühlmann, "p-Values for High-Dimensional Regression", JASA 2009,
https://arxiv.org/abs/0811.2177, with gamma = 1/2). Holm's correction is over the arms.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learners.evaluate import mean_and_standard_error
from learners.significance import holm_adjusted, mcnemar, paired_difference
from storage.store import Store

Row = dict[str, Any]

LEVEL = 0.95
"""Share of the bootstrap distribution inside an interval; arms differ where that excludes 0 and p is below the rest."""
CALIBRATION = ("nll", "ece_15", "aurc", "scaled_nll", "scaled_ece_15")
"""Metrics of the table of calibration, of the last epoch."""


def arm_rows(store: Store, inputs: Mapping[str, str], arms: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Metrics of every arm: means over seeds, of the last and the best epoch; None where there are none.

    Args:
        store: has the trainings and evaluations.
        inputs: their ids by role, such as `evaluation.000.001`: arm, seed.
        arms: `learner`, `data` and `title` of each.
    """
    rows = []
    for place, arm in enumerate(arms):
        evaluations = [store.record(one).meta for one in _of_arm(inputs, "evaluation", place)]
        trainings = [store.record(one).meta for one in _of_arm(inputs, "training", place)]
        tests = [float(one["metrics"]["test_accuracy"]) for one in evaluations]
        mean, error = mean_and_standard_error(tests)
        best = _mean_metric(evaluations, "best_metrics", "test_accuracy")
        rows.append(
            {
                **arm,
                "test_accuracy": mean,
                "standard_error": error,
                "by_seed": tests,
                "train_accuracy": float(np.mean([one["metrics"]["train_accuracy"] for one in trainings])),
                "best_test_accuracy": best and best[0],
                "best_standard_error": best and best[1],
                "best_epochs": [one.get("best_epoch") for one in evaluations],
                "calibration": {name: _mean_only(evaluations, name) for name in CALIBRATION},
                "attacked": _attacked(evaluations),
            }
        )
    return rows


def comparison_rows(store: Store, inputs: Mapping[str, str], arms: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Every arm against the first: the difference of test accuracies at the last epoch, and how sure it is.

    Args:
        store: has the evaluations.
        inputs: their ids by role, such as `evaluation.000.001`: arm, seed.
        arms: `title` of each.

    Returns:
        Rows of shares in [0, 1]: `difference` with its bounds `low` and `high`, `p_value` adjusted for the number of
        arms, and `verdict`: `better`, `worse` or `no difference shown`. Empty for fewer than two arms.
    """
    right = [_correct(store, inputs, place) for place in range(len(arms))]
    p_values = [_p_value(other, right[0]) for other in right[1:]]
    adjusted = holm_adjusted(p_values).tolist() if p_values else []
    rows = []
    for arm, other, p_value in zip(arms[1:], right[1:], adjusted, strict=True):
        found = paired_difference(other, right[0], level=LEVEL)
        shown = found.excludes_zero and p_value < 1 - LEVEL
        verdict = ("better" if found.estimate > 0 else "worse") if shown else "no difference shown"
        bounds = {"difference": found.estimate, "low": found.low, "high": found.high}
        rows.append({"title": arm["title"], **bounds, "p_value": p_value, "verdict": verdict})
    return rows


def warning_rows(store: Store, inputs: Mapping[str, str], arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is suspicious about robust accuracies, a sentence each, with the model that it is said of."""
    return [
        f"{arm['title']}, seed {number}: {warning}"
        for place, arm in enumerate(arms)
        for number, one in enumerate(_of_arm(inputs, "evaluation", place), start=1)
        for warning in store.record(one).meta.get("warnings", [])
    ]


def _of_arm(inputs: Mapping[str, str], kind: str, place: int) -> list[str]:
    """Ids of an arm's trainings or evaluations, by seed."""
    return [inputs[role] for role in sorted(inputs) if role.startswith(f"{kind}.{place:03d}.")]


def _correct(store: Store, inputs: Mapping[str, str], place: int) -> NDArray[np.bool_]:
    """(R, N) whether each seed's model is right on each test example."""
    ids = _of_arm(inputs, "evaluation", place)
    return np.stack([store.table(one, "predictions", ["correct"])["correct"].to_numpy() for one in ids])


def _p_value(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Twice the median over seeds of McNemar's exact p-values; with one seed the value itself."""
    values = [mcnemar(*pair).exact for pair in zip(first, second, strict=True)]
    return values[0] if len(values) == 1 else min(1.0, 2 * float(np.median(values)))


def _mean_metric(evaluations: Sequence[Mapping[str, Any]], group: str, name: str) -> tuple[float, float | None] | None:
    """Mean over seeds and its standard error; None where a seed has no such metric."""
    values = [(one.get(group) or {}).get(name) for one in evaluations]
    known = [float(value) for value in values if value is not None]
    return mean_and_standard_error(known) if len(known) == len(values) else None


def _mean_only(evaluations: Sequence[Mapping[str, Any]], name: str) -> float | None:
    found = _mean_metric(evaluations, "metrics", name)
    return found and found[0]


def _attacked(evaluations: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row an attack and epoch: accuracy under it; first of all accuracy on those examples without one."""
    rows = []
    for epoch, group in (("last", "metrics"), ("best", "best_metrics")):
        names = [name for name in evaluations[0].get(group) or {} if name.endswith("_worst_class_accuracy")]
        if not names:
            continue
        attacks = [name.removesuffix("_worst_class_accuracy") for name in names]
        for attack in ("attacked_clean", *attacks):
            mean, error = _mean_metric(evaluations, group, f"{attack}_accuracy") or (None, None)
            rows.append({"epoch": epoch, "attack": attack, "accuracy": mean, "standard_error": error})
    return rows
