"""Contract: what a row must fulfil to become an example, and what happens to one that does not.

Bad rows are never lost and never let through: they go to the table `quarantine` with the rule they
break and their place in the source, or the contract says `fail` and nothing is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.schemas import Feature

Action = Literal["quarantine", "fail"]

KEY = "example_key"
"""The column with the user's key, while rows are checked; afterwards it is part of `example_id`."""

RULES = {
    "ragged row": "a CSV row has fewer or more cells than the header",
    "not a number": "a CSV cell does not fit its column of numbers or truth values",
    "null key": "the key is null or empty",
    "null label": "a label is declared and the row has none",
    "unknown label": "the label is not among those allowed",
    "unknown split": "the split is null, or no word for train, validation or test",
    "null group": "a group is declared and the row has none",
    "missing value": "a feature is null",
    "wrong shape": "an image has another number of values than its shape",
    "not a byte": "an image has a value that is null or not a whole number from 0 to 255",
    "non-finite number": "a number feature is NaN or infinite",
    "duplicate key": "an earlier row has the same key; the first in the source's order is kept",
}
"""Every rule with what breaks it; a row is counted under the first that it breaks, in this order."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What is demanded of every row."""

    action: Action = "quarantine"
    """What happens to rows that break a rule: they are set aside, or the whole ingest fails."""
    labels: tuple[str, ...] = ()
    """Labels that are allowed, as text; empty allows all."""

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ValueError(f"action must be one of {', '.join(get_args(Action))}, got {self.action!r}")


def broken_rules(frame: pl.DataFrame, features: Sequence[Feature], contract: Contract) -> NDArray[np.object_] | None:
    """The first rule that each row breaks.

    Args:
        frame: (N,) rows with the columns of the table `examples` (or some of them), and the key in `KEY`.
        features: the columns that a model may see.
        contract: the labels that are allowed.

    Returns:
        (N,) names from `RULES`, None where a row is good; or None if all are.
    """
    found = [(rule, mask) for rule, mask in _masks(frame, features, contract) if mask.any()]
    if not found:
        return None
    order = list(RULES)
    rules = np.full(len(frame), None, dtype=np.object_)
    for rule, mask in sorted(found, key=lambda pair: -order.index(pair[0])):
        rules[mask.fill_null(value=False).to_numpy()] = rule
    return rules


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


def _image_masks(column: pl.Series, size: int) -> Iterator[tuple[str, pl.Series]]:
    lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    yield "wrong shape", lists.list.len() != size
    values = lists.drop_nulls().explode()
    if len(values) and (values.null_count() or values.dtype != pl.UInt8):
        inside = pl.element().is_between(0, 255).fill_null(value=False).all()
        yield "not a byte", ~lists.list.eval(inside).list.first()
