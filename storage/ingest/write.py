"""Ingest: streams a source into a data set's tables, checking every row on the way.

Always read = kept + quarantined. Memory is one block of rows and 8 bytes a row for the search for
repeated ids, which the sort at the end doubles for a moment.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.artifacts import Draft
from storage.contract import KEY, ROW_COUNT, Contract, broken_column_rules, broken_rules, warnings
from storage.errors import ContractError, SourceError
from storage.files import check_name
from storage.ingest.ahead import read_ahead
from storage.ingest.columns import Arrangement, arrange_columns, listing
from storage.ingest.identity import content_keys, feature_hashes
from storage.ingest.parts import Parts
from storage.ingest.quarantine import Quarantine
from storage.ingest.source import Block, Format, Header, Rejected, Source, open_format, row_json
from storage.ingest.tally import Tally
from storage.schemas import Roles
from storage.splits import SplitFractions, drawn_splits

_BLOCKS_AHEAD = 2
_DECODED_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """How far an ingest has come; always rows = kept + quarantined."""

    rows: int
    """Rows read so far."""
    kept: int
    quarantined: int
    fraction: float
    """Share of the source read so far, in [0, 1]."""
    warned: int = 0
    """How often a rule that only warns was broken so far."""


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
    yield from ingest_from(
        draft,
        name=name,
        reader=open_format(source),
        location=source.location,
        roles=roles,
        splits=splits,
        contract=contract,
        seed=seed,
    )
    draft.meta["source"] |= {**asdict(source), "format": source.kind()}


def ingest_from(
    draft: Draft,
    *,
    name: str,
    reader: Format,
    location: str,
    roles: Roles,
    splits: SplitFractions,
    contract: Contract,
    seed: int,
    stored: Sequence[Path] = (),
) -> Iterator[IngestReport]:
    """Fill a draft as `ingest_examples` does, from what a reader finds at a location.

    Rows whose id is in the `stored` files of table `examples` go to quarantine as `duplicate key`.
    """
    check_name(name)
    if contract.labels and roles.label is None:
        raise ValueError("the contract lists labels, but no label column is declared; name one or drop the list")
    header = _contracted(reader.columns(location), contract, location)
    arrangement = arrange_columns(header, roles, location)
    writer = _Writer(draft, name, arrangement, splits, contract, seed, texts=header.inferred)
    for block in read_ahead(reader.read(location, arrangement.read_types), _BLOCKS_AHEAD):
        writer.take(block)
        yield writer.report(block.fraction)
    writer.warned.update(getattr(reader, "warnings", {}))
    writer.settle(reader.PLACE, stored)
    draft.meta |= {
        "schema": writer.tally.schema(list(arrangement.sources), arrangement.metadata).to_json(),
        "counts": writer.counts(),
        "source": {"location": location, "columns": list(arrangement.read_types)},
    }
    yield writer.report(1.0)


def _contracted(header: Header, contract: Contract, location: str) -> Header:
    """The columns, those of a text file with the types that the contract declares.

    Raises:
        SourceError: the contract names a column that is not there, or a rule that its type has no meaning for.
    """
    columns = dict(header.columns)
    for name, rules in contract.columns.items():
        if name not in columns:
            raise SourceError(f"contract column {name!r} is not in {location}; it has {listing(columns)}")
        if header.inferred and rules.dtype is not None and name not in header.nested:
            columns[name] = rules.dtype
        nested = rules.misfit(pl.List(pl.String())) if name in header.nested else None
        misfit = nested or rules.misfit(columns[name])
        if misfit:
            raise SourceError(f"the contract's rules for column {name!r} of {location} cannot be kept: {misfit}")
    numbers = [name for name in header.mostly_numbers if name not in contract.columns]
    return replace(header, columns=columns, mostly_numbers=numbers)


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
        *,
        texts: bool,
    ) -> None:
        self.tally = Tally(arrangement.features, arrangement.location)
        self.warned: Counter[str] = Counter()
        self._texts = texts
        self._name, self._arrangement, self._splits = name, arrangement, splits
        self._contract, self._seed = contract, seed
        self._parts, self._quarantine = Parts(draft), Quarantine(draft, contract)
        self._rows = self._whole = self._unlabelled = 0

    def take(self, block: Block) -> None:
        """Check, name and write a block's rows."""
        self._rows += len(block.frame) + len(block.rejected)
        self._quarantine.begin_file(block.before, block.file)
        for rejected in block.rejected:
            self._quarantine.add(rejected)
        per_image = self._arrangement.decoded_bytes
        size = max(_DECODED_BYTES // per_image, 1) if per_image else max(len(block.frame), 1)
        for start in range(0, len(block.frame), size):
            self._take(block.frame[start : start + size], block.rows[start : start + size])

    def _take(self, original: pl.DataFrame, rows: NDArray[np.int64]) -> None:
        """Check, name and write rows of the source."""
        if not self._arrangement.is_measured:
            self._arrangement = self._arrangement.measured(original)
            self.tally.features = self._arrangement.features
        decoded, rules = self._arrangement.decode(original)
        if rules is not None:
            self._set_aside(original, rows, rules)
            good = rules == None  # noqa: E711 (elementwise)
            original, decoded, rows = original.filter(good), decoded.filter(good), rows[good]
        frame = self._arrangement.arrange(decoded)
        if "label" in frame:
            self._unlabelled += frame["label"].null_count()
            self._whole += len(frame)
        self.warned.update(dict(warnings(original, frame, self._contract, self._texts)))
        rules = self._broken(original, frame)
        if rules is not None:
            self._set_aside(original, rows, rules)
            good = rules == None  # noqa: E711 (elementwise)
            frame, rows = frame.filter(good), rows[good]
        if not len(frame):
            return
        examples = self._named(self._arrangement.finish(frame))
        self._parts.add(examples, rows)
        self.tally.add(examples)

    def settle(self, place: str, stored: Sequence[Path]) -> None:
        """Decide what is left, and hand it over.

        Args:
            place: what a place in the source is called.
            stored: files with earlier rows of the data set.
        """
        for number, known in self._parts.among(stored, "example_id"):
            self._parts.discard(number, known, self._drop_repeated_keys)
        self._parts.settle(self._drop_repeated_keys if KEY in self._arrangement.sources else None)
        for column, rules in self._contract.columns.items():
            if rules.unique:
                self._settle_unique(column, stored)
        self._check_outcome(place)
        self._quarantine.flush()
        for _ in self._parts.hand_over():
            pass

    def report(self, fraction: float) -> IngestReport:
        """How far it has come."""
        bad = len(self._quarantine)
        return IngestReport(
            rows=self._rows,
            kept=self._rows - bad,
            quarantined=bad,
            fraction=fraction,
            warned=self.warned.total(),
        )

    def counts(self) -> dict[str, int | dict[str, int]]:
        """Rows read, kept and quarantined, by rule and by split, and rows by warning."""
        return {
            "read": self._rows,
            "kept": sum(self.tally.by_split.values()),
            "quarantined": len(self._quarantine),
            "by_rule": self._quarantine.by_rule(),
            "by_split": self.tally.by_split,
            "warnings": {rule: rows for rule, rows in self.warned.items() if rows},
        }

    def _broken(self, original: pl.DataFrame, frame: pl.DataFrame) -> NDArray[np.object_] | None:
        """The first rule that each row breaks, rules that fail before the others."""
        rules = broken_rules(frame, self._arrangement.features, self._contract)
        further = broken_column_rules(original, self._contract, self._texts) if self._contract.columns else None
        if rules is None or further is None:
            return further if rules is None else rules
        pairs = zip(rules.tolist(), further.tolist(), strict=True)
        firsts = [min(filter(None, pair), key=self._contract.rank, default=None) for pair in pairs]
        return np.array(firsts, dtype=np.object_)

    def _set_aside(self, original: pl.DataFrame, rows: NDArray[np.int64], rules: NDArray[np.object_]) -> None:
        for place in np.flatnonzero(rules != None):  # noqa: E711 (elementwise)
            row = row_json(original.row(int(place), named=True))
            self._quarantine.add(Rejected(source_row=int(rows[place]), rule=rules[place], row=row))

    def _settle_unique(self, column: str, stored: Sequence[Path]) -> None:
        """Hold the kept rows against a column's rule `unique`, and against earlier rows of the data set."""
        rule = f"{column}: unique"
        ours = next(ours for ours, source in self._arrangement.sources.items() if source == column)
        ours = "example_id" if ours == KEY else ours
        for place, repeats in chain(self._parts.among(stored, ours), self._parts.repeats(ours)):
            if self._contract.action_of(rule) == "warn":
                self.warned[rule] += int(repeats.sum())
            else:
                self._parts.discard(place, repeats, lambda frame, rows: self._drop_repeats(frame, rows, rule))

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

    def _drop_repeated_keys(self, frame: pl.DataFrame, rows: NDArray[np.int64]) -> None:
        self._drop_repeats(frame, rows, "duplicate key")

    def _drop_repeats(self, frame: pl.DataFrame, rows: NDArray[np.int64], rule: str) -> None:
        """Move rows whose value an earlier row has to the quarantine."""
        self.tally.remove(frame)
        sources = self._arrangement.sources
        for row, place in zip(frame.iter_rows(named=True), rows.tolist(), strict=True):
            key = row["example_id"].removeprefix(f"{self._name}:")
            original = {source: key if ours == KEY else row[ours] for ours, source in sources.items()}
            self._quarantine.add(Rejected(source_row=place, rule=rule, row=row_json(original)))

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
        failing = self._quarantine.failing()
        if failing:
            remedy = "the contract's action" if self._contract.action == "fail" else "the action of the rule"
            raise ContractError(
                f"{sum(failing.values())} of {self._rows} rows of {location} break the contract: "
                f"{self._quarantine.summary(place, failing)}; correct them, or set {remedy} to 'quarantine'"
            )
        if bad == self._rows:
            summary = self._quarantine.summary(place, self._quarantine.by_rule())
            raise SourceError(f"all {bad} rows of {location} break the contract: {summary}")
        self._check_row_count(self._rows - bad)

    def _check_row_count(self, kept: int) -> None:
        expected = self._contract.rows
        if expected is None or expected[0] <= kept <= expected[1]:
            return
        if self._contract.action_of(ROW_COUNT) == "warn":
            self.warned[ROW_COUNT] += 1
            return
        raise ContractError(
            f"{kept} rows of {self._arrangement.location} are kept, "
            f"the contract expects {expected[0]} to {expected[1]}; "
            "correct the source or the contract's rows"
        )
