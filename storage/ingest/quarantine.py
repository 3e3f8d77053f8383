"""Quarantine: the table of rows that break the contract, and the sentences about them."""

from collections import Counter

import polars as pl

from storage.artifacts import Draft
from storage.contract import RULES
from storage.ingest.source import Rejected

_SCHEMA = {"source_row": pl.Int64, "rule": pl.String, "row": pl.String}
_FLUSH_ROWS = 10_000


class Quarantine:
    """Collects rejected rows and writes them to a draft in parts."""

    def __init__(self, draft: Draft) -> None:
        """Collect into a draft's table `quarantine`, which has at least one row or does not exist."""
        self.counts: Counter[str] = Counter()
        self._draft = draft
        self._waiting: list[Rejected] = []
        self._first: dict[str, int] = {}

    def __len__(self) -> int:
        return self.counts.total()

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
            rows = [(one.source_row, one.rule, one.row) for one in self._waiting]
            self._draft.add_table("quarantine", pl.DataFrame(rows, schema=_SCHEMA, orient="row"))
            self._waiting.clear()

    def by_rule(self) -> dict[str, int]:
        """Rows of each rule that was broken."""
        return {rule: self.counts[rule] for rule in RULES if self.counts[rule]}

    def summary(self, place: str) -> str:
        """`2 ragged row (first: line 3), 1 null label (line 9)`."""
        return ", ".join(
            f"{count} {rule} ({'first: ' if count > 1 else ''}{place} {self._first[rule]})"
            for rule, count in self.by_rule().items()
        )
