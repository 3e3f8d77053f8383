"""Table and figure of docs/results.md from a finished run of the Fashion-MNIST recipe.

python benchmarks/results/noise_report.py --store STORE [--figure docs/figures/auroc_by_epoch.png]
"""

import argparse
from pathlib import Path

import matplotlib as mpl

from flows.report.tables import markdown_summary
from storage import Store

mpl.use("Agg")
from matplotlib import pyplot as plt


def newest_report(store: Store) -> dict:
    """Meta of the newest report in a store."""
    reports = [store.record(one) for one in store.artifacts.ids() if one.startswith("report-")]
    if not reports:
        raise SystemExit(f"{store.root} has no report; run a recipe first")
    return dict(max(reports, key=lambda record: record.created_at).meta)


def draw(report: dict, path: Path) -> None:
    """AUROC of each score by the epoch at which it is read."""
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for one in report["detection"]:
        if one["by_epoch"]:
            epochs, values = zip(*one["by_epoch"], strict=True)
            axes.plot(epochs, values, marker="o", label=one["score"])
        else:
            axes.axhline(one["auroc"], linestyle="--", color="grey", label=f"{one['score']} (all epochs)")
    axes.set(xlabel="epoch at which the score is read", ylabel="AUROC of finding wrong labels", ylim=(None, 1.0))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the report as Markdown and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--figure", type=Path)
    chosen = parser.parse_args()
    report = newest_report(Store.open(chosen.store))
    print(markdown_summary(report))
    for arm in report["arms"]:
        print(arm["title"], "by seed:", ", ".join(f"{100 * one:.2f}" for one in arm["by_seed"]))
    if chosen.figure:
        draw(report, chosen.figure)


if __name__ == "__main__":
    main()
