"""The checks of a subset as tables on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from flows.report.terminal import print_rows

MOST_PARTS = 12
"""Classes or groups that are shown."""
MOST_PAIRS = 5
"""Leaking pairs that are named for each split and kind."""

Found = Mapping[str, Any]


def print_checks(subset: str, found: Found, console: Console) -> None:
    """What `flows.check_subset.check_subset` found: first the verdicts in a sentence each, then the tables."""
    counts = found["counts"]
    kept = f"{counts['kept']} of {counts['pool']} training examples kept"
    console.print(Text(f"{subset}: {kept}.", style="bold"))
    for one in found["two_samples"]:
        sentence = one.get("sentence") or f"{one['first']} is not compared with {one['second']}: {one['skipped']}"
        console.print(Text(f"{sentence[0].upper()}{sentence[1:]}."))
    for one in found["leakage"]:
        if "skipped" in one:
            console.print(Text(f"Near duplicates in the {one['split']} split are not looked for: {one['skipped']}."))
    print_rows("Told apart by a linear classifier, with the 95 % interval", two_sample_rows(found), console)
    print_rows("Effective rank at an equal number of rows", rank_rows(found), console)
    for one in found["shifts"]:
        told = "" if one["p_value"] is None else f", p = {one['p_value']:.2g} for the whole table"
        print_rows(f"Shares by {one['by']}, largest shift first{told}", shift_rows(one), console)
        if len(one["parts"]) > MOST_PARTS:
            console.print(Text(f"{len(one['parts']) - MOST_PARTS} more; --format json gives all"))
    print_rows("Rows of other splits that a kept row equals, or nearly", leakage_rows(found), console)
    print_rows("Most alike", pair_rows(found), console)


def two_sample_rows(found: Found) -> list[dict[str, str]]:
    """A row for each two-sample test that was made."""
    return [
        {
            "first": one["first"],
            "second": one["second"],
            "on": one["on"],
            "AUROC": f"{one['auroc']:.3f}",
            "from": f"{one['low']:.3f}",
            "to": f"{one['high']:.3f}",
        }
        for one in found["two_samples"]
        if "auroc" in one
    ]


def rank_rows(found: Found) -> list[dict[str, str]]:
    """One row, or none where no rank was computed."""
    one = found["effective_rank"]
    if "skipped" in one:
        return []
    spread = f" ± {one['pool_spread']:.2f}" if one["pool_spread"] else ""
    return [
        {
            "on": one["on"],
            "kept": f"{one['kept']:.2f}",
            "pool": f"{one['pool']:.2f}{spread}",
            "rows": str(one["num_rows"]),
            "columns": str(one["num_columns"]),
        }
    ]


def shift_rows(one: Found) -> list[dict[str, str]]:
    """Classes or groups with the largest shifts."""
    return [
        {
            one["by"]: part["name"],
            "pool": str(part["pool"]),
            "kept": str(part["kept"]),
            "share of pool": f"{part['pool_share']:.2%}",
            "share of kept": f"{part['kept_share']:.2%}",
            "shift": f"{part['shift']:+.2%}",
            "p (Holm)": f"{part['p_value']:.2g}",
        }
        for part in one["parts"][:MOST_PARTS]
    ]


def leakage_rows(found: Found) -> list[dict[str, str]]:
    """How many rows of each other split leak, and how."""
    return [
        {"split": one["split"], "as": one["kind"], "rows": str(one["pairs"]), "of": str(one["compared"])}
        for one in found["leakage"]
        if "pairs" in one
    ]


def pair_rows(found: Found) -> list[dict[str, str]]:
    """The most alike pairs of each split and kind."""
    return [
        {
            "split": one["split"],
            "as": one["kind"],
            "kept row": pair["training"],
            "row of the split": pair["other"],
            "similarity": f"{pair['similarity']:.3f}" if "similarity" in pair else f"made from {pair['parent']}",
        }
        for one in found["leakage"]
        for pair in one.get("most_alike", [])[:MOST_PAIRS]
    ]
