"""A run's report as plain rows and text: what the terminal, Prefect's pages and files show alike."""

from collections.abc import Mapping
from typing import Any

from storage.artifacts import Record

Report = Mapping[str, Any]
Row = dict[str, str]


def arms_rows(report: Report) -> list[Row]:
    """One row an arm: test accuracies with standard errors over seeds, and how well it fitted the given labels."""
    has_best = any(arm.get("best_test_accuracy") is not None for arm in report["arms"])
    return [
        {
            "training": arm["title"],
            "test accuracy": with_error(arm["test_accuracy"], arm["standard_error"]),
            **({"best epoch": _best_accuracy(arm)} if has_best else {}),
            "seeds": str(len(arm["by_seed"])),
            "given labels fitted": f"{100 * arm['train_accuracy']:.1f} %",
        }
        for arm in report["arms"]
    ]


def comparison_rows(report: Report) -> list[Row]:
    """One row an arm after the first: the difference to the first in points, and whether it is one."""
    return [
        {
            "training": one["title"],
            "points": f"{100 * one['difference']:+.1f}",
            "95 % interval": f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}",
            "adjusted p": "below 0.001" if one["p_value"] < 0.001 else f"{one['p_value']:.3f}",
            "verdict": one["verdict"],
        }
        for one in report.get("comparisons", [])
    ]


def comparison_title(report: Report) -> str:
    """Title of the table of comparisons."""
    first = report["arms"][0]["title"] if report["arms"] else "nothing"
    return f"Test accuracy against {first}, at the last epoch"


def calibration_rows(report: Report) -> list[Row]:
    """One row an arm: how well its probabilities can be trusted, scaled by a temperature too where one was fitted."""
    arms = [arm for arm in report["arms"] if arm.get("calibration")]
    titles = {
        "nll": "NLL",
        "ece_15": "ECE 15",
        "aurc": "AURC",
        "scaled_nll": "scaled NLL",
        "scaled_ece_15": "scaled ECE",
    }
    known = [name for name in titles if any(arm["calibration"][name] is not None for arm in arms)]
    return [
        {"training": arm["title"], **{titles[name]: _number(name, arm["calibration"][name]) for name in known}}
        for arm in arms
    ]


def attacked_rows(report: Report) -> list[Row]:
    """One row an arm and epoch that were attacked: accuracy on the attacked examples, without and under each attack."""
    found = [(arm["title"], one) for arm in report["arms"] for one in arm.get("attacked", [])]
    names = {"attacked_clean": "no attack", **{one["attack"]: one["attack"] for _, one in found}}
    names["attacked_clean"] = "no attack"
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for title, one in found:
        row = rows.setdefault((title, one["epoch"]), {})
        row[names[one["attack"]]] = with_error(one["accuracy"], one["standard_error"])
    return [
        {"training": title, "epoch": epoch, **{name: row.get(name, "") for name in names.values()}}
        for (title, epoch), row in rows.items()
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


def kept_text(record: Record) -> str:
    """Such as `900 of 1000 examples kept and 50 synthetic rows`, of a selection."""
    made = record.rows("synthetic")
    kept = f"{record.meta['kept']} of {record.rows('selection')} examples kept"
    return f"{kept} and {made} synthetic rows" if made else kept


def class_rows(report: Report) -> list[Row]:
    """One row a class: kept, dropped, relabelled, and synthetic where there are such; and their sums."""
    columns = ["kept", "dropped", "relabelled"]
    columns += ["synthetic"] if any("synthetic" in one for one in report["classes"]) else []
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
        (comparison_title(report), comparison_rows(report)),
        ("Calibration", calibration_rows(report)),
        ("Accuracy under attack", attacked_rows(report)),
    ):
        if rows:
            parts += [f"## {title}", _markdown_table(rows)]
    parts += [f"Suspicious: {one}." for one in report.get("warnings", [])]
    return "\n\n".join([*parts, cost_sentence(report) + "."])


def model_text(card: Mapping[str, Any]) -> str:
    """Such as `elr (mlp) trained on digits@1, 10 classes, test accuracy 93.1 %`."""
    data = card["trained_on"] or card["dataset"]
    accuracy = with_error(float(card["metrics"]["test_accuracy"]), None)
    method, network = card["learner"]["method"], card["model"]["method"]
    return f"{method} ({network}) trained on {data}, {len(card['classes'])} classes, test accuracy {accuracy}"


def metric_rows(columns: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """One row a metric, numbers as they are; metrics by the title of their column."""
    names = dict.fromkeys(name for one in columns.values() for name in one)
    return [
        {"metric": name, **{title: _number(name, one.get(name)) for title, one in columns.items()}} for name in names
    ]


def _best_accuracy(arm: Mapping[str, Any]) -> str:
    mean = arm.get("best_test_accuracy")
    return "" if mean is None else with_error(mean, arm["best_standard_error"])


def _number(name: str, value: Any) -> str:
    if value is None:
        return ""
    return str(round(value)) if name.endswith("_examples") else f"{value:.4f}"


def with_error(mean: float, error: float | None) -> str:
    """A share as per cent, with its standard error where there is one."""
    return f"{100 * mean:.1f} %" if error is None else f"{100 * mean:.1f} ± {100 * error:.1f} %"


def _markdown_table(rows: list[Row]) -> str:
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in rows])
