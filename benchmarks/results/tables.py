"""Rows of the learners' tables: means over seeds, and paired differences with their intervals."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from benchmarks.results.arms import Arm
from learners.calibration import area_under_risk_coverage, confidence
from learners.evaluate import mean_and_standard_error, per_class_accuracy
from learners.significance import Interval, bootstrap_interval, paired_difference
from learners.worst_case import tail_accuracy, tail_classes

Row = dict[str, str]
Table = Callable[[Sequence[Arm]], list[Row]]
"""Makes rows of finished arms, the first of which is the baseline."""

JUDGES = {"pgd_50": "PGD-50", "auto_attack": "AutoAttack"}
"""Attacks under which tails are compared."""


def noise_table(arms: Sequence[Arm]) -> list[Row]:
    """Test accuracy of the last epoch and of the best one by the noisy validation split."""
    rows = []
    for arm in arms:
        row = {
            "learner": f"`{arm.name}`",
            "last epoch": percent(arm.metric("test_accuracy")),
            "best epoch": percent(arm.metric("test_accuracy", "best_metrics")),
            "last, against the first row": gain(arm, arms[0]),
            "given labels fitted": f"{100 * arm.fitted:.0f} %",
            "s": f"{arm.seconds:.0f}",
        }
        for other in arms:
            if arm.name == "elr_plus" and other.name == "elr":
                row["last, against the first row"] += f"; against `elr` {gain(arm, other)}"
        rows.append(row)
    return rows


def throughput_table(arms: Sequence[Arm]) -> list[Row]:
    """`noise_table` with training examples per second."""
    return [
        {**row, "examples/s": f"{arm.visits / arm.seconds:,.0f}"}
        for row, arm in zip(noise_table(arms), arms, strict=True)
    ]


def targets_table(arms: Sequence[Arm]) -> list[Row]:
    """Accuracy and calibration of the last epoch, each against the first arm."""
    base = arms[0]
    rows = []
    for arm in arms:
        rows.append(
            {
                "learner": f"`{arm.name}`",
                "accuracy": percent(arm.metric("test_accuracy")),
                "NLL": plain(arm.metric("nll")),
                "AURC x 1000": plain([1000 * one for one in arm.metric("aurc")]),
                "ECE 15": percent(arm.metric("ece_15")),
                "ECE 15 after scaling": percent(arm.metric("scaled_ece_15")),
                "accuracy, difference": gain(arm, base),
                "NLL, difference": "" if arm is base else interval(paired_difference(nll(arm), nll(base)), 1, 3),
                "AURC x 1000, difference": "" if arm is base else interval(aurc_difference(arm, base), 1000, 2),
                "s": f"{arm.seconds:.0f}",
            }
        )
    return rows


def adversarial_table(arms: Sequence[Arm]) -> list[Row]:
    """Robust accuracy on the attacked examples; the tail also over the classes where the first arm is weakest."""
    base = arms[0]
    fixed = weakest_classes(base)
    rows = []
    for arm in arms:
        change = difference(lambda values: float(values.mean()), hits(arm, "auto_attack"), hits(base, "auto_attack"))
        row = {
            "learner": f"`{arm.name}`",
            "clean": percent(arm.metric("test_accuracy")),
            "PGD-50": percent(list(hits(arm, "pgd_50").mean(axis=1))),
            "AutoAttack": percent(list(hits(arm, "auto_attack").mean(axis=1))),
            "PGD - AutoAttack": gap(arm),
            "worst class, PGD-50": percent(worst_classes(arm, "pgd_50")),
            "CVaR-10 %, PGD-50": plain(arm.metric("pgd_50_loss_at_risk")),
            **{f"RA-Tail-30, {title}": percent(tails(arm, attack, None)) for attack, title in JUDGES.items()},
            "AutoAttack, difference": "" if arm is base else interval(change, 100, 1),
        }
        for attack, title in JUDGES.items():
            own, same = (tail_difference(arm, base, attack, classes) for classes in (None, fixed))
            row[f"tail, difference, {title}"] = "" if arm is base else interval(own, 100, 1)
            row[f"fixed tail, difference, {title}"] = "" if arm is base else interval(same, 100, 1)
        rows.append({**row, "s": f"{arm.seconds:.0f}"})
    return rows


def single_step_table(arms: Sequence[Arm]) -> list[Row]:
    """PGD-20 accuracy of the last epoch by seed: near 0 where single-step training overfitted catastrophically."""
    base = arms[0]
    rows = []
    for arm in arms:
        by_seed = hits(arm, "pgd_20").mean(axis=1)
        change = difference(lambda values: float(values.mean()), hits(arm, "pgd_20"), hits(base, "pgd_20"))
        rows.append(
            {
                "learner": f"`{arm.name}`",
                "clean": percent(arm.metric("test_accuracy")),
                "FGSM": percent(list(hits(arm, "fgsm").mean(axis=1))),
                "PGD-20": percent(list(by_seed)),
                "PGD-20 by seed": ", ".join(f"{100 * one:.1f}" for one in by_seed),
                "PGD-20, difference": "" if arm is base else interval(change, 100, 1),
                "s": f"{arm.seconds:.0f}",
            }
        )
    return rows


def gain(arm: Arm, base: Arm) -> str:
    """Points of test accuracy above another arm, with the paired interval over examples and seeds."""
    return "" if arm is base else interval(paired_difference(arm.correct(), base.correct()), 100, 1)


def nll(arm: Arm) -> NDArray[np.float64]:
    """(R, N) cross entropy of each test example in nats."""
    logs = log_softmax(arm.logits(), axis=2)
    found: NDArray[np.float64] = -np.take_along_axis(logs, arm.labels[None, :, None], axis=2)[:, :, 0]
    return found


def aurc_difference(arm: Arm, base: Arm) -> Interval:
    """AURC less the baseline's, drawn anew over examples and seeds."""
    sides = []
    for one in (arm, base):
        pairs = [confidence(softmax(logits, axis=1), one.labels) for logits in one.logits()]
        sides.append((np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])))

    def statistic(seeds: NDArray[np.intp], rows: NDArray[np.intp]) -> float:
        means = [
            np.mean([area_under_risk_coverage(sure[seed][rows], right[seed][rows]) for seed in seeds])
            for sure, right in sides
        ]
        return float(means[0] - means[1])

    return bootstrap_interval(statistic, num_examples=len(base.labels), num_seeds=len(sides[0][0]), num_replicates=1000)


def hits(arm: Arm, attack: str) -> NDArray[np.bool_]:
    """(R, M) whether each attacked example withstood."""
    logits, labels = arm.attacked(attack)
    found: NDArray[np.bool_] = logits.argmax(axis=2) == labels
    return found


def weakest_classes(arm: Arm) -> NDArray[np.intp]:
    """The tail classes of an arm's mean over seeds under PGD-50."""
    logits, labels = arm.attacked("pgd_50")
    return tail_classes(np.mean([per_class_accuracy(one, labels) for one in logits], axis=0))


def tails(arm: Arm, attack: str, fixed: NDArray[np.intp] | None) -> list[float]:
    """Mean accuracy under an attack over the lowest 30 % of classes, or over fixed ones, a number a seed."""
    logits, labels = arm.attacked(attack)
    return [tail_accuracy(per_class_accuracy(one, labels), fixed) for one in logits]


def worst_classes(arm: Arm, attack: str) -> list[float]:
    """The lowest accuracy of a class under an attack, a number a seed."""
    logits, labels = arm.attacked(attack)
    return [float(np.nanmin(per_class_accuracy(one, labels))) for one in logits]


def tail_difference(arm: Arm, base: Arm, attack: str, fixed: NDArray[np.intp] | None) -> Interval:
    """Tail accuracy under an attack less the baseline's; without fixed classes each side draws its own tail anew."""
    (ours, labels), (theirs, _) = arm.attacked(attack), base.attacked(attack)

    def statistic(seeds: NDArray[np.intp], rows: NDArray[np.intp]) -> float:
        sides = [
            np.mean([tail_accuracy(per_class_accuracy(side[seed][rows], labels[rows]), fixed) for seed in seeds])
            for side in (ours, theirs)
        ]
        return float(sides[0] - sides[1])

    return bootstrap_interval(statistic, num_examples=len(labels), num_seeds=len(ours))


def difference(
    statistic: Callable[[NDArray[np.bool_]], float], ours: NDArray[np.bool_], theirs: NDArray[np.bool_]
) -> Interval:
    """A statistic of (R, M) outcomes less the baseline's, drawn anew over examples and seeds."""
    return bootstrap_interval(
        lambda seeds, rows: statistic(ours[seeds][:, rows]) - statistic(theirs[seeds][:, rows]),
        num_examples=ours.shape[1],
        num_seeds=ours.shape[0],
    )


def gap(arm: Arm) -> str:
    """Points that PGD-50 leaves above AutoAttack, flagged above 1.5."""
    points = 100 * float(hits(arm, "pgd_50").mean() - hits(arm, "auto_attack").mean())
    return f"{points:.1f}" + (" (flagged)" if points > 1.5 else "")


def percent(values: Sequence[float]) -> str:
    """Such as `86.1 ± 0.2 %`."""
    mean, error = mean_and_standard_error(values)
    return f"{100 * mean:.1f} %" if error is None else f"{100 * mean:.1f} ± {100 * error:.1f} %"


def plain(values: Sequence[float]) -> str:
    """Such as `0.412 ± 0.003`."""
    mean, error = mean_and_standard_error(values)
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"


def interval(found: Interval, scale: float, digits: int) -> str:
    """Such as `+18.1 [+17.6, +18.6]`."""
    numbers = (scale * one for one in (found.estimate, found.low, found.high))
    estimate, low, high = (f"{one:+.{digits}f}" for one in numbers)
    return f"{estimate} [{low}, {high}]"
