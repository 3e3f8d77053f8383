"""Contract: what a row must fulfil to become an example, and what happens to one that does not.

Bad rows are never lost and never let through: they go to the table `quarantine` with the rule they
break and their place in the source, or the contract says `fail` and nothing is written. A rule that says
`warn` keeps its rows and counts them. Rules are plain Polars expressions; `docs/contract.md` says why.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.column_rules import ColumnRules, column_masks
from storage.schemas import Feature

Action = Literal["quarantine", "fail"]
RuleAction = Literal["quarantine", "fail", "warn"]

KEY = "example_key"
"""The column with the user's key, while rows are checked; afterwards it is part of `example_id`."""

ROW_COUNT = "row count"
"""The rule that the number of kept rows lies in the range expected."""

RULES = {
    "ragged row": "a CSV row has fewer or more cells than the header",
    "not JSON": "a line of JSONL is no JSON object",
    "unknown column": "a JSON object has a key that no row of the file's beginning has",
    "not a number": "a cell does not fit its column of numbers or truth values",
    "not text": "a JSON value in a column of text is a list or an object",
    "not a list": "a JSON value in a column of lists of numbers is something else",
    "no label row": "the second file has no row with this key",
    "not an image": "an image cannot be decoded",
    "image too large": "an image has more pixels than are ever unpacked",
    "null key": "the key is null or empty",
    "null label": "a label is declared and the row has none",
    "unknown label": "the label is not among those allowed",
    "unknown split": "the split is null, or no word for train, validation or test",
    "null group": "a group is declared and the row has none",
    "missing value": "a feature is null",
    "wrong shape": "an image has another size, or an image or vector another number of values, than its shape",
    "not a byte": "an image has a value that is null or not a whole number from 0 to 255",
    "non-finite number": "a number feature is NaN or infinite, or a number of a vector is that or null",
    "duplicate key": "an earlier row has the same key; the first in the source's order is kept",
}
"""Rules of every contract with what breaks them; a row is counted under the first that it breaks, in this order,
those that fail before the others, then the rules of single columns."""

_MAY_WARN = ("unknown label",)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What is demanded of every row."""

    action: Action = "quarantine"
    """What happens to rows that break a rule: they are set aside, or the whole ingest fails."""
    labels: tuple[str, ...] = ()
    """Labels that are allowed, as text; empty allows all."""
    columns: Mapping[str, ColumnRules] = field(default_factory=dict)
    """Rules for single columns, by their name in the source; each of them must be there."""
    rows: tuple[int, int] | None = None
    """Fewest and most rows that may be kept; outside, the ingest fails, or warns if `actions` says so."""
    actions: Mapping[str, RuleAction] = field(default_factory=dict)
    """What happens under single rules instead, such as `"age: range" = "warn"`; warned of, a row is kept."""

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ValueError(f"action must be one of {', '.join(get_args(Action))}, got {self.action!r}")
        if self.rows is not None and not 0 <= self.rows[0] <= self.rows[1]:
            raise ValueError(f"rows must be the fewest and the most, at least 0 and rising, got {list(self.rows)}")
        known = [*RULES, *self.column_rules, *([ROW_COUNT] if self.rows else [])]
        for rule, action in self.actions.items():
            if rule not in known:
                raise ValueError(f"actions names the rule {rule!r}; the contract has {_quoted(known)}")
            if rule == ROW_COUNT and action == "quarantine":
                raise ValueError(f"the rule {rule!r} is about no single row: its action is 'fail' or 'warn'")
            if action == "warn" and rule in RULES and rule not in _MAY_WARN:
                raise ValueError(f"a row that breaks {rule!r} cannot be kept: its action is 'quarantine' or 'fail'")

    @property
    def column_rules(self) -> list[str]:
        """Names of the rules for single columns, in order, such as `age: range`."""
        return [f"{column}: {rule}" for column, rules in self.columns.items() for rule in rules.names]

    @property
    def rules(self) -> list[str]:
        """Names of all rules about rows, in order."""
        return [*RULES, *self.column_rules]

    def action_of(self, rule: str) -> RuleAction:
        """What happens under a rule."""
        default: RuleAction = "fail" if rule == ROW_COUNT else self.action
        return self.actions.get(rule, default)

    def rank(self, rule: str) -> tuple[bool, int]:
        """Sorts rules: those that fail first, then in their order."""
        return self.action_of(rule) != "fail", self.rules.index(rule)


def broken_rules(frame: pl.DataFrame, features: Sequence[Feature], contract: Contract) -> NDArray[np.object_] | None:
    """The first rule that each row breaks, of those about the roles of columns.

    Args:
        frame: (N,) rows with the columns of the table `examples` (or some of them), and the key in `KEY`.
        features: the columns that a model may see.
        contract: the labels that are allowed, and the action of each rule.

    Returns:
        (N,) names from `RULES`, None where a row is good or only warned of; or None if all are.
    """
    masks = ((rule, mask) for rule, mask in _masks(frame, features, contract) if contract.action_of(rule) != "warn")
    return _first_broken(masks, len(frame), contract)


def broken_column_rules(frame: pl.DataFrame, contract: Contract, texts: bool) -> NDArray[np.object_] | None:
    """The first rule that each row breaks, of those for single columns.

    Args:
        frame: (N,) rows with the source's columns.
        contract: the rules.
        texts: whether the source is text, so that a number may stand in a column of text.

    Returns:
        (N,) names such as `age: range`, None where a row is good or only warned of; or None if all are.
    """
    masks = ((rule, mask) for rule, mask in _column_masks(frame, contract, texts) if contract.action_of(rule) != "warn")
    return _first_broken(masks, len(frame), contract)


def warnings(frame: pl.DataFrame, arranged: pl.DataFrame, contract: Contract, texts: bool) -> Iterator[tuple[str, int]]:
    """Rules that only warn, with the number of rows that break each.

    Args:
        frame: (N,) rows with the source's columns.
        arranged: (N,) the same rows under our names.
        contract: the rules.
        texts: whether the source is text.
    """
    for rule, mask in (*_masks(arranged, (), contract), *_column_masks(frame, contract, texts)):
        if contract.action_of(rule) == "warn":
            yield rule, int(mask.sum())


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _first_broken(masks: Iterator[tuple[str, pl.Series]], rows: int, contract: Contract) -> NDArray[np.object_] | None:
    found = [(rule, mask) for rule, mask in masks if mask.any()]
    if not found:
        return None
    rules = np.full(rows, None, dtype=np.object_)
    for rule, mask in sorted(found, key=lambda pair: contract.rank(pair[0]), reverse=True):
        rules[mask.fill_null(value=False).to_numpy()] = rule
    return rules


def _column_masks(frame: pl.DataFrame, contract: Contract, texts: bool) -> Iterator[tuple[str, pl.Series]]:
    for name, rules in contract.columns.items():
        for rule, mask in column_masks(frame[name], rules, texts):
            yield f"{name}: {rule}", mask


def _masks(frame: pl.DataFrame, features: Sequence[Feature], contract: Contract) -> Iterator[tuple[str, pl.Series]]:
    """Rules with the rows that break them; a rule may come several times."""
    if KEY in frame:
        yield "null key", frame[KEY].is_null() | (frame[KEY] == "")
    if "label" in frame:
        yield "null label", frame["label"].is_null()
        if contract.labels:
            yield "unknown label", ~frame["label"].cast(pl.String).is_in(contract.labels)
    for name, rule in (("split", "unknown split"), ("group", "null group")):
        if name in frame:
            yield rule, frame[name].is_null()
    for feature in features:
        column = frame[feature.name]
        if column.null_count():
            yield "missing value", column.is_null()
        if feature.kind == "number" and column.dtype.is_float():
            yield "non-finite number", ~column.is_finite()
        if feature.kind == "image":
            yield from _image_masks(column, int(np.prod(feature.shape)))
        if feature.kind == "vector":
            yield from _vector_masks(column, int(np.prod(feature.shape)))


def _image_masks(column: pl.Series, size: int) -> Iterator[tuple[str, pl.Series]]:
    lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    yield "wrong shape", lists.list.len() != size
    values = lists.drop_nulls().explode()
    if len(values) and (values.null_count() or values.dtype != pl.UInt8):
        inside = pl.element().is_between(0, 255).fill_null(value=False).all()
        yield "not a byte", ~lists.list.eval(inside).list.first()


def _vector_masks(lists: pl.Series, size: int) -> Iterator[tuple[str, pl.Series]]:
    yield "wrong shape", lists.list.len() != size
    values = lists.drop_nulls().explode()
    if values.null_count() or not values.is_finite().all():
        finite = pl.element().is_finite().fill_null(value=False).all()
        yield "non-finite number", ~lists.list.eval(finite).list.first()
