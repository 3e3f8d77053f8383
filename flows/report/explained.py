"""What `tamis why` and `tamis diff` print: one example's story, and what moved between two versions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from rich.console import Console

from flows.report.tables import Row
from flows.report.terminal import print_rows
from storage.diff import Diff
from storage.lineage import Change

Fact = Mapping[str, Any]


def print_why(example_id: str, facts: pl.DataFrame, console: Console) -> None:
    """An example's row, its scores, and what every subset did with it and why."""
    rows = facts.rows(named=True)
    newest = next(fact["version"] for fact in rows if fact["kind"] == "example")
    print_rows(f"{example_id} in {newest}", [_told(fact) for fact in rows if fact["kind"] == "example"], console)
    scored = [fact for fact in rows if fact["kind"] == "score"]
    errors = {fact["name"]: fact["value"] for fact in rows if fact["kind"] == "detail"}
    if scored:
        title = f"Scores in {scored[0]['version']} (rank 1 is the highest value)"
        print_rows(title, [_score_row(fact, errors) for fact in scored], console)
        shown = {f"{fact['name']}_se" for fact in scored}
        details = [_told(fact) for fact in rows if fact["kind"] == "detail" and fact["name"] not in shown]
        print_rows("Beside the scores", details, console)
    elif not any(fact["kind"] == "subset" for fact in rows):
        console.print("No scores and no subset: only examples of the train split are scored and selected.")
    versions = dict.fromkeys(fact["version"] for fact in rows if fact["kind"] == "subset")
    for version in reversed(versions):
        console.print()
        for line in _subset_lines(version, rows):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_diff(found: Diff, most: int, console: Console) -> None:
    """Counts, what differs in how the two versions were made, causes, and the first rows.

    Args:
        found: what moved.
        most: rows to print.
        console: where to.
    """
    title = f"{found.first} → {found.second}"
    print_rows(title, [{"change": name, "examples": str(number)} for name, number in found.counts.items()], console)
    print_rows("What differs in how they were made", [_origin_row(one) for one in found.origins], console)
    causes = found.rows.group_by("change", "cause", "name", maintain_order=True).len()
    print_rows(
        "Because of (an example may have several causes)",
        [
            {"change": change, "cause": cause if name in (None, cause) else f"{cause} {name}", "examples": str(number)}
            for change, cause, name, number in causes.iter_rows()
        ],
        console,
    )
    moved = found.rows.select("example_id", "change").unique(maintain_order=True)
    told = found.rows.join(moved.head(most), on=["example_id", "change"], how="semi", maintain_order="left")
    print_rows("The first of them", _moved_rows(told), console)
    if len(moved) > most:
        console.print(f"{len(moved) - most} more; --rows N shows N, --output FILE keeps all")


def _told(fact: Fact) -> Row:
    value = fact["text"] if fact["text"] is not None else _number(fact["value"])
    return {"version": fact["version"], "what": fact["name"], "value": value}


def _score_row(fact: Fact, errors: Mapping[str, float]) -> Row:
    error = errors.get(f"{fact['name']}_se")
    return {
        "score": fact["name"],
        "value": _number(fact["value"]) + ("" if error is None else f" ± {error:.2g}"),
        "rank": str(fact["rank"]),
        "percentile": f"{fact['percentile']:.1f}",
        "meaning": str(fact["text"]).partition(";")[0],
    }


def _subset_lines(version: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """What one version did with the example, by which rule, on which scores."""
    own = [fact for fact in rows if fact["version"] == version]
    decided = {fact["name"]: fact for fact in own if fact["kind"] == "subset"}
    weight = decided["weight"]
    fate = "kept" if weight["value"] > 0 else "dropped"
    yield f"{fate} by {version}: weight {_number(weight['value'])}, {weight['text']}"
    if "new_label" in decided:
        yield f"  new label  {decided['new_label']['text']}"
    if "children" in decided:
        yield f"  parent of  {_number(decided['children']['value'])} {decided['children']['text']}"
    settings = [
        f"{fact['name']} {_number(fact['value']) if fact['text'] is None else fact['text']}"
        for fact in own
        if fact["kind"] == "setting"
    ]
    for fact in own:
        if fact["kind"] == "rule":
            yield f"  rule  {fact['text']}" + (f": {', '.join(settings)}" if settings else "")
        if fact["kind"] == "read":
            place = f"rank {fact['rank']}, percentile {fact['percentile']:.1f}"
            yield f"  read  {fact['name']} {_number(fact['value'])} ({place}); {fact['text']}"


def _moved_rows(rows: pl.DataFrame) -> list[Row]:
    """One row for each change of an example, with all its causes."""
    found: dict[tuple[str, str], Row] = {}
    for one in rows.iter_rows(named=True):
        new = {
            "example": one["example_id"],
            "change": one["change"],
            "from": one["was"] or "",
            "to": one["now"] or "",
            "because of": "",
        }
        row = found.setdefault((one["example_id"], one["change"]), new)
        row["because of"] += ("; " if row["because of"] else "") + _cause(one)
    return list(found.values())


def _cause(row: Mapping[str, Any]) -> str:
    """Such as `score el2n 0.2 → 0.7`."""
    name = row["cause"] if row["name"] in (None, row["cause"]) else f"{row['cause']} {row['name']}"
    if row["before"] is not None and row["after"] is not None:
        return f"{name} {_number(row['before'])} → {_number(row['after'])}"
    return f"{name} {row['text']}" if row["cause"] in ("rule", "label", "seed") else str(row["text"] or name)


def _origin_row(change: Change) -> Row:
    return {
        "where": change.role or "the version itself",
        "what": change.name,
        "before": _plain(change.before),
        "after": _plain(change.after),
    }


def _plain(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
