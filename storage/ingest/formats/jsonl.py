"""JSONL: one JSON object a line in UTF-8, also packed as `.gz` or `.zst`.

The types of columns are taken from the first rows (`SAMPLE_BYTES`): whole numbers, numbers, true/false, lists of
whole numbers (images), else text. A key that is missing or null is null. Lists and objects of other
kinds are kept as JSON text, for queries only, unless a column of lists of numbers is a feature. In a column of text a
number or true/false is taken by its text.

A row goes to quarantine as `not JSON` (no JSON, no object, or a number too large to hold), `unknown column` (a
key that no row of the sample has), `not a number`, `not text` or `not a list` (a value that does not fit its
column). Of a key that an object has twice the last counts. A row's place is its line; empty lines count as lines
and are no rows.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import SourceError
from storage.ingest.ahead import made_ahead
from storage.ingest.compressed import Opened, opened
from storage.ingest.location import short_names, source_files
from storage.ingest.plain_lines import plain_lines
from storage.ingest.source import Block, Header, Rejected, file_fingerprint, row_json

BLOCK_BYTES = 16 << 20
"""Bytes of text read at a time; a single row must be shorter."""
_SIDE_BY_SIDE = 2
"""Pieces that are parsed at a time."""
SAMPLE_BYTES = 4 << 20
"""Bytes of text from which the types of columns are taken."""

PLACE = "line"
"""What a place in this kind of source is called."""

_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_WHOLES = pl.List(pl.Int64())
_RAW = "nested"
_PADDED = re.compile(r"[+-]?0\d+")
_UNFIT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def columns(location: str) -> Header:
    """The keys of the first rows, in order of appearance, with the types that their values have."""
    path = source_files(location, "jsonl")[0]
    lines = _split(next(_pieces(path, SAMPLE_BYTES), (b"", 0, 1.0))[0])
    if not any(lines):
        raise SourceError(f"{path} is empty")
    values: dict[str, list[Any]] = {}
    for line in lines:
        for key, value in (_object(line) or {}).items():
            values.setdefault(key, []).append(value)
    if not values:
        raise SourceError(
            f"no line at the start of {path} is a JSON object with a key; write one object a line, such as "
            '{"text": "...", "label": 1}'
        )
    kinds = {key: _kinds(found) for key, found in values.items()}
    types = {key: _type(counter) for key, counter in kinds.items()}
    texts = {key: counter for key, counter in kinds.items() if types[key] == pl.String}
    return Header(
        columns=types,
        inferred=True,
        mostly_numbers=[key for key, one in texts.items() if 2 * (one["whole"] + one["number"]) > one.total()],
        nested=[key for key, one in texts.items() if one[_RAW] or one["wholes"] or one["numbers"]],
        number_lists=[
            key for key, one in texts.items() if one["numbers"] and 2 * (one["wholes"] + one["numbers"]) > one.total()
        ],
    )


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of rows; places are line numbers, counted on from file to file."""
    nested = set(columns(location).nested)
    wants = {name: _want(dtype) for name, dtype in types.items()}
    wants |= {name: _RAW for name, dtype in types.items() if name in nested and dtype == pl.String}
    row_type = _RowType.of(wants)
    paths = source_files(location, "jsonl")
    sizes = [max(path.stat().st_size, 1) for path in paths]
    before, done = 0, 0
    for path, name, size in zip(paths, short_names(paths), sizes, strict=True):
        ends = [before]

        def parsed(piece: tuple[bytes, int, float], before: int = before) -> tuple[_Parsed, int, float]:
            text, first, share = piece
            return _parsed(text, before + first, row_type, types), before + first, share

        for (frame, rows, rejected, count), first, share in made_ahead(
            parsed, _pieces(path, BLOCK_BYTES), _SIDE_BY_SIDE
        ):
            ends.append(first + count - 1)
            fraction = (done + size * share) / sum(sizes)
            yield Block(frame=frame, rows=rows, rejected=rejected, fraction=fraction, file=name, before=before)
        before, done = ends[-1], done + size


def fingerprint(location: str) -> str:
    """SHA-256 of the files' bytes, as they are packed."""
    return file_fingerprint(location, "jsonl")


@dataclass(frozen=True, kw_only=True)
class _RowType:
    """A row as a typed structure, with a field for each column."""

    fields: Mapping[str, str]
    """The structure's field of each column."""
    wants: Mapping[str, str]
    decode: Callable[[bytes], Any]
    decode_lines: Callable[[bytes], list[Any]]

    @property
    def is_flat(self) -> bool:
        """Whether every column holds single values."""
        return not {_RAW, "wholes", "numbers"} & set(self.wants.values())

    @staticmethod
    def of(wants: Mapping[str, str]) -> "_RowType":
        fields = {name: f"c{place}" for place, name in enumerate(wants)}
        kind = msgspec.defstruct(
            "Row",
            [(fields[name], _PYTHON[want], None) for name, want in wants.items()],
            rename={field: name for name, field in fields.items()},
            forbid_unknown_fields=True,
            gc=False,
        )
        decoder = msgspec.json.Decoder(kind)
        return _RowType(fields=fields, wants=wants, decode=decoder.decode, decode_lines=decoder.decode_lines)

    def frame(self, rows: list[Any], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Rows as a frame."""
        cells = map(attrgetter(*self.fields.values()), rows)
        columns = list(zip(*cells, strict=True)) if len(types) > 1 else [tuple(cells)]
        columns = columns or [()] * len(types)
        pairs = zip(types.items(), columns, strict=True)
        return pl.DataFrame([self._series(name, values, dtype) for (name, dtype), values in pairs])

    def _series(self, name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
        """A column's values."""
        if self.wants[name] == "text" and set(map(type, values)) - {str, type(None)}:
            values = [value if value is None or isinstance(value, str) else _text(value) for value in values]
        if self.wants[name] == _RAW:
            texts = [None if value is None else bytes(value).decode() for value in values]
            values = [None if text == "null" else text for text in texts]
        return pl.Series(name, values, dtype=dtype)


_PYTHON: Mapping[str, Any] = {
    "whole": _Whole | None,
    "number": float | None,
    "truth": bool | None,
    "wholes": list[_Whole | None] | None,
    "numbers": list[float | None] | None,
    "text": str | bool | int | float | None,
    _RAW: msgspec.Raw,
}
"""What each kind of column is decoded as."""
_RULES = {"whole": "not a number", "number": "not a number", "truth": "not a number"} | dict.fromkeys(
    ("wholes", "numbers"), "not a list"
)


def _pieces(path: Path, block_bytes: int) -> Iterator[tuple[bytes, int, float]]:
    """Whole lines, the number of the first of them, and the share of the file read."""
    number, rest = 1, b""
    with opened(path) as stream:
        rest = _start(path, stream, block_bytes)
        while True:
            data = stream.read(block_bytes)
            text = rest + data
            cut = text.rfind(b"\n") + 1 if data else len(text)
            rest = text[cut:]
            if len(rest) > BLOCK_BYTES:
                raise SourceError(f"line {number} of {path}, or one soon after, is longer than {BLOCK_BYTES >> 20} MiB")
            if cut:
                yield text[:cut], number, stream.fraction
            number += text.count(b"\n", 0, cut)
            if not data:
                return


def _split(text: bytes) -> list[bytes]:
    """The lines of a piece, without their ends."""
    lines = text.split(b"\n")
    return [line.strip() for line in (lines if lines[-1] else lines[:-1])]


def _start(path: Path, stream: Opened, block_bytes: int) -> bytes:
    """The first bytes without a byte order mark; SourceError if they are no UTF-8 text."""
    start = stream.read(min(block_bytes, 1 << 16))
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
        raise SourceError(f"{path} is not UTF-8 text; save it as UTF-8 with one JSON object a line")
    return start.removeprefix(b"\xef\xbb\xbf")


_Parsed = tuple[pl.DataFrame, NDArray[np.int64], tuple[Rejected, ...], int]


def _parsed(text: bytes, first: int, row_type: _RowType, types: Mapping[str, pl.DataType]) -> _Parsed:
    """Rows that fit their columns, their places, the rows that do not fit, and how many lines there are."""
    frame = plain_lines(text, types) if row_type.is_flat else None
    if frame is not None:
        return frame, np.arange(first, first + len(frame), dtype=np.int64), (), len(frame)
    lines = _split(text)
    rows = _together(lines, row_type)
    if rows is not None:
        return row_type.frame(rows, types), np.arange(first, first + len(rows), dtype=np.int64), (), len(lines)
    good, kept, rejected = _one_by_one(lines, first, row_type)
    return row_type.frame(good, types), np.array(kept, dtype=np.int64), rejected, len(lines)


def _together(lines: list[bytes], row_type: _RowType) -> list[Any] | None:
    """All rows, if every line is one that fits its columns."""
    if not all(lines):
        return None
    try:
        rows = row_type.decode_lines(b"\n".join(lines))
    except _UNFIT:
        return None
    return rows if len(rows) == len(lines) else None


def _one_by_one(
    lines: list[bytes], first: int, row_type: _RowType
) -> tuple[list[Any], list[int], tuple[Rejected, ...]]:
    """Rows that fit their columns, their places, and the rows that do not fit."""
    good: list[Any] = []
    places: list[int] = []
    rejected: list[Rejected] = []
    for place, line in enumerate(lines, start=first):
        if not line:
            continue
        try:
            good.append(row_type.decode(line))
            places.append(place)
        except _UNFIT:
            rejected.append(_rejected(place, line, row_type.wants))
    return good, places, tuple(rejected)


def _rejected(place: int, line: bytes, wants: Mapping[str, str]) -> Rejected:
    """Which rule a line breaks that does not fit its columns."""
    found = _object(line)
    if found is None:
        text = row_json({"text": line.decode(errors="backslashreplace")})
        return Rejected(source_row=place, rule="not JSON", row=text)
    misfits = [name for name in found if name in wants and not _fits(found[name], wants[name])]
    rule = "unknown column" if set(found) - set(wants) else _RULES.get(wants[misfits[0]], "not text")
    return Rejected(source_row=place, rule=rule, row=row_json(found))


def _fits(value: object, want: str) -> bool:
    if want == _RAW:
        return True
    try:
        msgspec.convert(value, _PYTHON[want])
    except msgspec.ValidationError:
        return False
    return True


def _object(line: bytes) -> dict[str, Any] | None:
    """The object in a line; None if there is none."""
    try:
        found = msgspec.json.decode(line)
    except _UNFIT:
        return None
    return found if isinstance(found, dict) else None


def _kinds(values: list[Any]) -> Counter[str]:
    """How many values are of each kind, nulls aside."""
    found: Counter[str] = Counter()
    for kind, count in Counter(map(type, values)).items():
        if kind is bool or kind is float:
            found["truth" if kind is bool else "number"] += count
        elif kind is not type(None):
            found.update(_kind(value) for value in values if type(value) is kind)
    return found


def _kind(value: object) -> str:
    """The kind of a whole number, text, list or object."""
    if isinstance(value, int):
        return "whole" if -(2**63) <= value < 2**63 else "number"
    if isinstance(value, str):
        return "padded" if _PADDED.fullmatch(value) else "text"
    whole = isinstance(value, list) and all(one is None or (type(one) is int and abs(one) < 2**63) for one in value)
    if whole and value:
        return "wholes"
    numbers = isinstance(value, list) and all(one is None or type(one) in (int, float) for one in value)
    return "numbers" if numbers and value else _RAW


def _type(kinds: Counter[str]) -> pl.DataType:
    """The narrowest type that holds every value."""
    found = set(kinds)
    for dtype, enough in ((pl.Boolean(), {"truth"}), (pl.Int64(), {"whole"}), (pl.Float64(), {"whole", "number"})):
        if found and found <= enough:
            return dtype
    return _WHOLES if found == {"wholes"} else pl.String()


def _want(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "truth"
    if dtype.is_integer():
        return "whole"
    if dtype.is_float():
        return "number"
    if isinstance(dtype, pl.List):
        return "wholes" if dtype == _WHOLES else "numbers"
    return "text"


def _text(value: bool | float) -> str:
    """JSON's text of a number or truth value."""
    return msgspec.json.encode(value).decode()
