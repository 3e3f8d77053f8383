"""A run's report as plain rows and text: what the terminal, Prefect's pages and files show alike."""

from collections.abc import Mapping
from typing import Any

Report = Mapping[str, Any]
Row = dict[str, str]


def arms_rows(report: Report) -> list[Row]:
    """One row an arm: test accuracy with its standard error over seeds, and how well it fitted the given labels."""
    return [
        {
            "training": arm["title"],
            "test accuracy": with_error(arm["test_accuracy"], arm["standard_error"]),
            "seeds": str(len(arm["by_seed"])),
            "given labels fitted": f"{100 * arm['train_accuracy']:.1f} %",
        }
        for arm in report["arms"]
    ]


def detection_rows(report: Report) -> list[Row]:
    """One row a score: how well it found the wrong labels."""
    return [
        {
            "score": one["score"],
            "AUROC": f"{one['auroc']:.4f}",
            "precision at the noise rate": f"{100 * one['precision']:.1f} %",
        }
        for one in report["detection"]
    ]


def score_rows(report: Report) -> list[Row]:
    """One row a score, where no wrong labels are known to measure them by."""
    if report["detection"]:
        return []
    rows = []
    for one in report.get("scores", []):
        low, high = one["range"] or (float("nan"), float("nan"))
        row = {"score": one["score"], "high means": one["high_means"], "examples": str(one["examples"])}
        flagged = "" if one["flagged"] is None else str(one["flagged"])
        rows.append({**row, "lowest": f"{low:.4g}", "highest": f"{high:.4g}", "flagged": flagged})
        if any(other["frozen"] for other in report["scores"]):
            rows[-1]["frozen"] = str(one["frozen"])
    return rows


def epoch_rows(report: Report) -> list[Row]:
    """One row a score that is read at one epoch: its AUROC, had it been read at another."""
    curves = {one["score"]: dict(one["by_epoch"]) for one in report["detection"] if one["by_epoch"]}
    epochs = sorted({epoch for curve in curves.values() for epoch in curve})
    return [
        {"score": score, **{str(epoch): f"{curve[epoch]:.3f}" if epoch in curve else "" for epoch in epochs}}
        for score, curve in curves.items()
    ]


def class_rows(report: Report) -> list[Row]:
    """One row a class: kept, dropped, relabelled; and their sums."""
    columns = ("kept", "dropped", "relabelled")
    rows = [{"class": one["class"], **{name: str(one[name]) for name in columns}} for one in report["classes"]]
    if rows:
        rows.append({"class": "all", **{name: str(sum(one[name] for one in report["classes"])) for name in columns}})
    return rows


def noise_sentence(report: Report) -> str:
    """How many labels of the training split are wrong, where the truth is known."""
    noise = report["noise"]
    if noise is None:
        return f"{report['train_examples']} training examples; true labels are not known"
    return (
        f"{noise['wrong']} of {report['train_examples']} training labels are wrong: "
        f"realised noise rate {100 * noise['realised_rate']:.1f} %"
    )


def rows_text(counts: Mapping[str, Any]) -> str:
    """Such as `5 rows read = 3 kept + 2 quarantined`."""
    return f"{counts['read']} rows read = {counts['kept']} kept + {counts['quarantined']} quarantined"


def broken_rules_text(counts: Mapping[str, Any]) -> str:
    """The rules that rows broke, and those warned of, as the end of a sentence; empty if there are none."""
    rules = ", ".join(f"{rule} {rows}" for rule, rows in counts.get("by_rule", {}).items())
    warnings = ", ".join(f"{rule} {rows}" for rule, rows in counts.get("warnings", {}).items())
    return (f" ({rules})" if rules else "") + (f"; warned of: {warnings}" if warnings else "")


def cost_sentence(report: Report) -> str:
    """What scoring cost beside one training."""
    cost = report["cost"]
    total = cost["training_seconds"] + cost["recording_seconds"] + cost["scorer_seconds"]
    if not cost["one_training_seconds"]:
        return f"scoring took {total:.1f} s"
    times = total / cost["one_training_seconds"]
    return (
        f"scoring took {total:.1f} s ({cost['trainings']} trainings {cost['training_seconds']:.1f} s, recording "
        f"{cost['recording_seconds']:.1f} s, scorers {cost['scorer_seconds']:.1f} s); one training takes "
        f"{cost['one_training_seconds']:.1f} s, so the scores cost {times:.1f} trainings"
    )


def markdown_summary(report: Report) -> str:
    """The whole report as Markdown."""
    parts = [f"# {report['name']}", noise_sentence(report) + "."]
    for title, rows in (
        ("Wrong labels found by each score", detection_rows(report)),
        ("Scores", score_rows(report)),
        ("AUROC by the epoch at which a score is read", epoch_rows(report)),
        (f"Subset {report['subset']}", class_rows(report)),
        ("Test accuracy", arms_rows(report)),
    ):
        if rows:
            parts += [f"## {title}", _markdown_table(rows)]
    return "\n\n".join([*parts, cost_sentence(report) + "."])


def with_error(mean: float, error: float | None) -> str:
    """A share as per cent, with its standard error where there is one."""
    return f"{100 * mean:.1f} %" if error is None else f"{100 * mean:.1f} ± {100 * error:.1f} %"


def _markdown_table(rows: list[Row]) -> str:
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in rows])
