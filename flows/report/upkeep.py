"""What `tamis gc` and `tamis fsck` print."""

from collections.abc import Iterable, Sequence

from rich.console import Console

from flows.report.tables import Row
from flows.report.terminal import print_rows
from storage.fsck import Finding
from storage.sweep import WHATS, Waste


def waste_rows(waste: Iterable[Waste]) -> list[Row]:
    """One row a kind of waste: pieces, files and bytes; and their sums."""
    by_kind: dict[str, list[Waste]] = {}
    for one in waste:
        by_kind.setdefault(one.what, []).append(one)
    rows = [_summed(what, by_kind[what]) for what in WHATS if what in by_kind]
    return [*rows, _summed("all", [one for found in by_kind.values() for one in found])] if rows else []


def print_waste(waste: Sequence[Waste], console: Console, *, removed: bool, grace_hours: float) -> None:
    """What nothing needs any more, as a table, and what happened to it."""
    if not waste:
        console.print(f"Nothing to remove: every artifact is needed or younger than {grace_hours:g} hours.")
        return
    print_rows("Removed" if removed else "Not needed any more", waste_rows(waste), console)
    if not removed:
        console.print("Nothing was removed; --delete does it.")


def print_findings(findings: Iterable[Finding], console: Console) -> bool:
    """One line a finding as it comes, and a last one that sums up; whether anything is wrong."""
    counts = dict.fromkeys(("damage", "foreign", "leftover"), 0)
    for finding in findings:
        counts[finding.severity] += 1
        console.print(str(finding), markup=False, highlight=False, soft_wrap=True)
    wrong = counts["damage"] + counts["foreign"]
    left = f"; {counts['leftover']} left by killed writers, which harm nothing" if counts["leftover"] else ""
    told = f"{counts['damage']} damaged, {counts['foreign']} foreign" if wrong else "The store is as its records say"
    console.print(f"{told}{left}.", highlight=False)
    return bool(wrong)


def _summed(what: str, waste: Sequence[Waste]) -> Row:
    return {
        "what": what,
        "pieces": str(len(waste)),
        "files": str(sum(len(one.files) for one in waste)),
        "bytes": f"{sum(one.size_bytes for one in waste):,}",
    }
