"""Ingest: streams a source into a data set's tables, checking every row on the way.

Always read = kept + quarantined. Memory is one block of rows and 8 bytes a row for the search for
repeated ids, which the sort at the end doubles for a moment.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.artifacts import Draft
from storage.contract import KEY, Contract, broken_rules
from storage.errors import ContractError, SourceError
from storage.files import check_name
from storage.ingest.ahead import read_ahead
from storage.ingest.columns import Arrangement, arrange_columns
from storage.ingest.identity import content_keys, feature_hashes
from storage.ingest.parts import Parts
from storage.ingest.quarantine import Quarantine
from storage.ingest.source import Block, Rejected, Source, open_format, row_json
from storage.ingest.tally import Tally
from storage.schemas import Roles
from storage.splits import SplitFractions, drawn_splits

_BLOCKS_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """How far an ingest has come; always rows = kept + quarantined."""

    rows: int
    """Rows read so far."""
    kept: int
    quarantined: int
    fraction: float
    """Share of the source read so far, in [0, 1]."""


def ingest_examples(
    draft: Draft,
    *,
    name: str,
    source: Source,
    roles: Roles,
    splits: SplitFractions,
    contract: Contract,
    seed: int,
) -> Iterator[IngestReport]:
    """Fill a draft of kind `dataset` from a source; the draft is complete when the iterator ends.

    Args:
        draft: gets the table `examples`, the table `quarantine` if a row breaks the contract, and `meta`:
            the schema, counts of rows by rule and split, and the source.
        name: the data set's name, in front of every id.
        source: where the rows are.
        roles: what its columns are.
        splits: the shares of drawn splits; a split column goes before them.
        contract: what is demanded of a row.
        seed: decides the drawn splits.

    Yields:
        A report after every block of rows, and one at the end.

    Raises:
        ValueError: the name cannot be one, or a setting has no effect or no sense.
        SourceError: the source cannot be read, its columns do not fit the roles, or no row is left.
        ContractError: rows break the contract and its action is `fail`.
    """
    check_name(name)
    if contract.labels and roles.label is None:
        raise ValueError("the contract lists labels, but no label column is declared; name one or drop the list")
    reader = open_format(source)
    arrangement = arrange_columns(reader.columns(source.location), roles, source.location)
    writer = _Writer(draft, name, arrangement, splits, contract, seed)
    for block in read_ahead(reader.read(source.location, arrangement.read_types), _BLOCKS_AHEAD):
        writer.take(block)
        yield writer.report(block.fraction)
    writer.settle(reader.PLACE)
    draft.meta |= {
        "schema": writer.tally.schema(list(arrangement.sources), arrangement.metadata).to_json(),
        "counts": writer.counts(),
        "source": {**asdict(source), "format": source.kind(), "columns": list(arrangement.read_types)},
    }
    yield writer.report(1.0)


class _Writer:
    """Where the rows of one ingest go."""

    def __init__(
        self,
        draft: Draft,
        name: str,
        arrangement: Arrangement,
        splits: SplitFractions,
        contract: Contract,
        seed: int,
    ) -> None:
        self.tally = Tally(arrangement.features, arrangement.location)
        self._name, self._arrangement, self._splits = name, arrangement, splits
        self._contract, self._seed = contract, seed
        self._parts, self._quarantine = Parts(draft), Quarantine(draft)
        self._rows = self._whole = self._unlabelled = 0

    def take(self, block: Block) -> None:
        """Check, name and write a block's rows."""
        self._rows += len(block.frame) + len(block.rejected)
        for rejected in block.rejected:
            self._quarantine.add(rejected)
        frame = self._arrangement.arrange(block.frame)
        if "label" in frame:
            self._unlabelled += frame["label"].null_count()
            self._whole += len(frame)
        rows = block.rows
        rules = broken_rules(frame, self._arrangement.features, self._contract)
        if rules is not None:
            for place in np.flatnonzero(rules != None):  # noqa: E711 (elementwise)
                row = row_json(block.frame.row(int(place), named=True))
                self._quarantine.add(Rejected(source_row=int(rows[place]), rule=rules[place], row=row))
            good = rules == None  # noqa: E711 (elementwise)
            frame, rows = frame.filter(good), rows[good]
        if not len(frame):
            return
        examples = self._named(self._arrangement.finish(frame))
        self._parts.add(examples, rows)
        self.tally.add(examples)

    def settle(self, place: str) -> None:
        """Decide what is left, and hand it over.

        Args:
            place: what a place in the source is called.
        """
        self._parts.settle(self._drop_repeats if KEY in self._arrangement.sources else None)
        self._check_outcome(place)
        self._quarantine.flush()
        for _ in self._parts.hand_over():
            pass

    def report(self, fraction: float) -> IngestReport:
        """How far it has come."""
        bad = len(self._quarantine)
        return IngestReport(rows=self._rows, kept=self._rows - bad, quarantined=bad, fraction=fraction)

    def counts(self) -> dict[str, int | dict[str, int]]:
        """Rows read, kept and quarantined, by rule and by split."""
        return {
            "read": self._rows,
            "kept": sum(self.tally.by_split.values()),
            "quarantined": len(self._quarantine),
            "by_rule": self._quarantine.by_rule(),
            "by_split": self.tally.by_split,
        }

    def _named(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows with their id and split."""
        features = self._arrangement.features
        keys = frame[KEY] if KEY in frame else content_keys(frame, features)
        if "split" not in frame:
            drawn = drawn_splits(feature_hashes(frame, features), self._splits, self._seed)
            frame = frame.with_columns(drawn)
        ids = (pl.lit(f"{self._name}:") + pl.Series(keys)).alias("example_id")
        first = [name for name in ("label", "clean_label", "split", "group") if name in frame]
        return frame.select(ids, *first, pl.exclude(KEY, *first))

    def _drop_repeats(self, frame: pl.DataFrame, rows: NDArray[np.int64]) -> None:
        """Move rows whose key an earlier row has to the quarantine."""
        self.tally.remove(frame)
        sources = self._arrangement.sources
        for row, place in zip(frame.iter_rows(named=True), rows.tolist(), strict=True):
            key = row["example_id"].removeprefix(f"{self._name}:")
            original = {source: key if ours == KEY else row[ours] for ours, source in sources.items()}
            self._quarantine.add(Rejected(source_row=place, rule="duplicate key", row=row_json(original)))

    def _check_outcome(self, place: str) -> None:
        location, bad = self._arrangement.location, len(self._quarantine)
        if not self._rows:
            raise SourceError(f"{location} has columns but no rows")
        if self._whole and self._unlabelled == self._whole:
            column = self._arrangement.sources["label"]
            raise SourceError(
                f"label column {column!r} of {location} is null in all {self._whole} rows; "
                "declare no label for an unlabelled pool"
            )
        if bad and self._contract.action == "fail":
            raise ContractError(
                f"{bad} of {self._rows} rows of {location} break the contract: {self._quarantine.summary(place)}; "
                "correct them, or set the contract's action to 'quarantine'"
            )
        if bad == self._rows:
            raise SourceError(f"all {bad} rows of {location} break the contract: {self._quarantine.summary(place)}")
