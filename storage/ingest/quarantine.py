"""Quarantine: the table of rows that break the contract, and the sentences about them."""

from bisect import bisect_left
from collections import Counter

import polars as pl

from storage.artifacts import Draft
from storage.contract import Contract
from storage.ingest.source import Rejected

_SCHEMA = {"source_row": pl.Int64, "rule": pl.String, "row": pl.String, "source_file": pl.String}
_FLUSH_ROWS = 10_000


class Quarantine:
    """Collects rejected rows and writes them to a draft in parts."""

    def __init__(self, draft: Draft, contract: Contract) -> None:
        """Collect into a draft's table `quarantine`, which has at least one row or does not exist."""
        self.counts: Counter[str] = Counter()
        self._draft, self._contract = draft, contract
        self._waiting: list[Rejected] = []
        self._first: dict[str, int] = {}
        self._files: list[tuple[int, str | None]] = []

    def __len__(self) -> int:
        return self.counts.total()

    def begin_file(self, before: int, name: str | None) -> None:
        """Say that places above `before` are in this file; the same file may be named again."""
        if (before, name) not in self._files[-1:]:
            self._files.append((before, name))

    def add(self, rejected: Rejected) -> None:
        """Take one row."""
        self.counts[rejected.rule] += 1
        self._first[rejected.rule] = min(rejected.source_row, self._first.get(rejected.rule, rejected.source_row))
        self._waiting.append(rejected)
        if len(self._waiting) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            places = [self._place(one.source_row) for one in self._waiting]
            rows = [(row, one.rule, one.row, file) for one, (row, file) in zip(self._waiting, places, strict=True)]
            self._draft.add_table("quarantine", pl.DataFrame(rows, schema=_SCHEMA, orient="row"))
            self._waiting.clear()

    def by_rule(self) -> dict[str, int]:
        """Rows of each rule that was broken."""
        return {rule: self.counts[rule] for rule in self._contract.rules if self.counts[rule]}

    def failing(self) -> dict[str, int]:
        """Rows of each broken rule under which an ingest fails."""
        return {rule: rows for rule, rows in self.by_rule().items() if self._contract.action_of(rule) == "fail"}

    def summary(self, place: str, rules: dict[str, int]) -> str:
        """`2 ragged row (first: line 3), 1 null label (line 9 of b.csv)`."""
        return ", ".join(
            f"{count} {rule} ({'first: ' if count > 1 else ''}{place} {self._spoken(self._first[rule])})"
            for rule, count in rules.items()
        )

    def _spoken(self, source_row: int) -> str:
        row, file = self._place(source_row)
        return f"{row} of {file}" if file else str(row)

    def _place(self, source_row: int) -> tuple[int, str | None]:
        """Place within its file, and the file where there are several."""
        at = bisect_left(self._files, source_row, key=lambda one: one[0]) - 1
        before, file = self._files[at] if at >= 0 else (0, None)
        return source_row - before, file
