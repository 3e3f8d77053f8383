"""Delimited text: UTF-8 with a header line and commas or tabs; quoted cells may hold these and line breaks.

Files may be packed as `.gz` or `.zst`. Stretches of plain rows are parsed straight to their types
(`storage/ingest/plain_rows.py`), all others cell by cell, with the same outcome.

Several files are one source if their headers are equal; the types come from the first of them.

The types of columns are taken from the first rows (`SAMPLE_BYTES`): whole numbers, numbers, true/false, else
text. A later cell that does not fit its column's type sends the row to quarantine (`not a number`), and a
row with too few or too many cells is rejected as `ragged row`; nothing is padded, cut or guessed. An empty
cell is null, a quoted empty one an empty text. Whole numbers with leading zeros (`007`) make a column text.

A row's place is its line in the file, the header being line 1, as long as no cell holds a line
break and no line is empty: such a row counts as one, and empty lines do not count. The delimiter is
decided by the format alone, never guessed.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from storage.errors import SourceError
from storage.ingest.compressed import opened
from storage.ingest.location import short_names, source_files
from storage.ingest.plain_rows import Pieces, plain_rows
from storage.ingest.source import Block, Header, Rejected, file_fingerprint, row_json

BLOCK_BYTES = 16 << 20
"""Bytes of text read at a time; a single row must be shorter."""
SAMPLE_BYTES = 16 << 20
"""Bytes of text from which the types of columns are taken."""
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Delimited:
    """Reads one kind of delimited text."""

    kind: str
    """The format's name."""
    delimiter: str
    spoken: str
    """What the delimiters are called in messages."""

    def columns(self, location: str) -> Header:
        """The header's names, with the types that the first rows have."""
        first, *others = source_files(location, self.kind)
        names = self._header(first)
        for other in others:
            if self._header(other) != names:
                raise SourceError(f"{other} has another header than {first}; read them apart or make them alike")
        sample = self._sample(first, names)
        types = {name: _type_of(sample[name]) for name in names}
        texts = [name for name, dtype in types.items() if dtype == pl.String]
        return Header(
            columns=types, inferred=True, mostly_numbers=[name for name in texts if _mostly_numbers(sample[name])]
        )

    def read(self, location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
        """Blocks of rows; places are line numbers as the module's first lines say."""
        paths = source_files(location, self.kind)
        sizes = [path.stat().st_size for path in paths]
        before, done, total = 0, 0, max(sum(sizes), 1)
        for path, name, size in zip(paths, short_names(paths), sizes, strict=True):
            last = before
            for block in self._blocks(path, types):
                moved = _moved(block, before)
                last = max(last, *_places_of(moved))
                fraction = (done + size * block.fraction) / total
                yield replace(moved, file=name, before=before, fraction=min(fraction, 1.0))
            before, done = last, done + size

    def fingerprint(self, location: str) -> str:
        """SHA-256 of the files' bytes."""
        return file_fingerprint(location, self.kind)

    def _header(self, path: Path) -> list[str]:
        """Distinct, non-empty names of the first line that is not empty."""
        with opened(path) as stream:
            start = stream.read(_HEADER_BYTES)
            if not start.strip():
                raise SourceError(f"{path} is empty")
            if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
                raise SourceError(f"{path} is not UTF-8 text; save it as UTF-8 with {self.spoken} between the cells")
            while b"\n" not in start.lstrip() and len(start) < BLOCK_BYTES and (more := stream.read(_HEADER_BYTES)):
                start += more
            is_whole = not stream.read(1)
        names, is_all = self._names(path, start if is_whole else start[: start.rfind(b"\n") + 1] or start)
        if is_all and is_whole:
            raise SourceError(f"{path} has columns but no rows")
        for place, name in enumerate(names):
            if not name.strip():
                raise SourceError(f"column {place + 1} of {path} has no name in the header; give it one")
            if name in names[:place]:
                raise SourceError(f"{path} has two columns named {name!r}; rename one")
        if all(re.fullmatch(r"\s*[+-]?[0-9.]+(e[+-]?\d+)?\s*", name, re.IGNORECASE) for name in names):
            raise SourceError(f"the first line of {path} holds only numbers; put a header with column names above it")
        return names

    def _names(self, path: Path, start: bytes) -> tuple[list[str], bool]:
        """The names in a file's first lines, and whether nothing stands below them."""
        try:
            text = io.TextIOWrapper(io.BytesIO(start), encoding="utf-8-sig", newline="")
            names = next(row for row in csv.reader(text, delimiter=self.delimiter) if row)
            return names, not text.read(1)
        except UnicodeDecodeError as error:
            raise SourceError(f"{path} is not UTF-8 text: {error}") from error
        except (csv.Error, StopIteration) as error:
            raise SourceError(f"the header of {path} cannot be read: {error}") from error

    def _sample(self, path: Path, names: list[str]) -> pl.DataFrame:
        """The first rows, all columns text."""
        with _understood(path, self.kind), opened(path) as stream:
            pieces = Pieces(stream)
            header = self._plain_header(pieces, names)
            text = pieces.lines(SAMPLE_BYTES) if header else b""
            frame = plain_rows(text, dict.fromkeys(names, pl.String()), self.delimiter) if text else None
            if frame is not None:
                return frame
            pieces.put_back(header + text)
            return next(self._texts(path, pieces, names, SAMPLE_BYTES)).frame

    def _blocks(self, path: Path, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
        """Typed blocks of one file: piece by piece until one has a quote, in which a line may end inside a cell."""
        names = self._header(path)
        ordered = {name: types[name] for name in names}
        with _understood(path, self.kind), opened(path) as stream:
            pieces = Pieces(stream)
            header, place = self._plain_header(pieces, names), 2
            while header and (text := pieces.lines(BLOCK_BYTES)):
                if b'"' in text:
                    pieces.put_back(text)
                    break
                frame = plain_rows(text, ordered, self.delimiter)
                if frame is not None:
                    rows = np.arange(place, place + len(frame), dtype=np.int64)
                    yield Block(frame=frame.select(list(types)), rows=rows, fraction=stream.fraction)
                    place += len(frame)
                    continue
                first = place
                for block in self._texts(path, Pieces(io.BytesIO(header + text)), names, BLOCK_BYTES):
                    typed = _moved(_typed(block, types), first - 2)
                    place = max(place, 1 + max(_places_of(typed)))
                    yield replace(typed, fraction=stream.fraction)
            if header and not pieces.waiting:
                return
            pieces.put_back(header)
            for block in self._texts(path, pieces, names, BLOCK_BYTES):
                yield replace(_moved(_typed(block, types), place - 2), fraction=stream.fraction)

    def _plain_header(self, pieces: Pieces, names: list[str]) -> bytes:
        """The first line, taken off the pieces, if it is the header as it stands; else nothing is taken."""
        text = pieces.lines(BLOCK_BYTES)
        line, end, rest = text.partition(b"\n")
        line = line.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\r")
        plain = end and b'"' not in line and line.split(self.delimiter.encode()) == [name.encode() for name in names]
        pieces.put_back(rest if plain else text)
        return line + b"\n" if plain else b""

    def _texts(self, path: Path, pieces: Pieces, names: list[str], block_bytes: int) -> Iterator[Block]:
        """Blocks whose columns are all text, with ragged rows rejected; at least one block, maybe empty."""
        ragged: list[Rejected] = []
        skipped: list[int] = []

        def reject(row: pc.InvalidRow) -> str:
            ragged.append(Rejected(source_row=row.number, rule="ragged row", row=row_json({"text": row.text})))
            skipped.append(row.number)
            return "skip"

        reader = pc.open_csv(
            pa.PythonFile(pieces, mode="r"),
            read_options=pc.ReadOptions(block_size=max(block_bytes, 2), use_threads=False),
            parse_options=pc.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=reject
            ),
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        )
        place, last = 2, None
        for batch in reader:
            rows, place = _places(place, batch.num_rows, skipped)
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)
            last = frame[-1, -1] if len(frame) else last
            rejected, ragged[:] = tuple(ragged), []
            yield Block(frame=frame, rows=rows, rejected=rejected, fraction=0.0)
        _check_closed(path, pieces.tail, last, ragged)
        empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        yield Block(frame=empty, rows=np.empty(0, dtype=np.int64), rejected=tuple(ragged), fraction=0.0)


def _moved(block: Block, before: int) -> Block:
    """The block with its places counted on from those of the files before."""
    if not before:
        return block
    rejected = tuple(replace(one, source_row=one.source_row + before) for one in block.rejected)
    return replace(block, rows=block.rows + before, rejected=rejected)


def _places_of(block: Block) -> tuple[int, ...]:
    """The last place of the block's rows and of those it rejects; 0 where there is none."""
    last = int(block.rows[-1]) if len(block.rows) else 0
    return last, max((one.source_row for one in block.rejected), default=0)


def _places(start: int, count: int, skipped: list[int]) -> tuple[NDArray[np.int64], int]:
    """Places of the next `count` good rows, and the place after them; uses up what it steps over in `skipped`."""
    stop, used = start + count, 0
    while used < len(skipped) and skipped[used] < stop:
        stop, used = stop + 1, used + 1
    places = np.setdiff1d(np.arange(start, stop, dtype=np.int64), skipped[:used], assume_unique=True)
    del skipped[:used]
    return places, stop


def _check_closed(path: Path, tail: bytes, last_cell: str | None, ragged: list[Rejected]) -> None:
    """Refuse a file whose last row swallowed the lines below it, because a quote was never closed."""
    closed = tail.rstrip().endswith(b'"')
    swallowed = last_cell is not None and "\n" in last_cell and not closed
    text = str(json.loads(ragged[-1].row)["text"]) if ragged else ""
    if swallowed or ("\n" in text and text.count('"') % 2):
        start = (text or str(last_cell)).split("\n")[0][:60]
        raise SourceError(f"a quote in {path} is never closed; it opens near {start!r}")


@contextmanager
def _understood(path: Path, kind: str) -> Iterator[None]:
    """Turns the parser's errors into one sentence."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text: {error}") from error
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "straddl" in reason or "out of sync" in reason:
            reason = f"a row is longer than {BLOCK_BYTES >> 20} MiB; probably a quote is not closed"
        if "UTF8" in reason:
            raise SourceError(f"{path} is not UTF-8 text: {reason}") from error
        raise SourceError(f"{path} cannot be read as {kind.upper()}: {reason}") from error


def _typed(block: Block, types: Mapping[str, pl.DataType]) -> Block:
    """The block with each column parsed; rows with a cell that does not fit are rejected."""
    frame = block.frame.select(list(types))
    parsed = frame.select(_parsed(name, dtype) for name, dtype in types.items())
    doubtful = [name for name in types if parsed[name].null_count() > frame[name].null_count()]
    if not doubtful:
        return replace(block, frame=parsed)
    trimmed = frame.select(pl.col(doubtful).str.strip_chars().replace("", None))
    again = trimmed.select(_parsed(name, types[name]) for name in doubtful)
    misfit = np.zeros(len(frame), dtype=np.bool_)
    for name in doubtful:
        misfit |= (again[name].is_null() & trimmed[name].is_not_null()).to_numpy()
    found = tuple(
        Rejected(source_row=int(block.rows[at]), rule="not a number", row=row_json(frame.row(int(at), named=True)))
        for at in np.flatnonzero(misfit)
    )
    kept = parsed.with_columns(again.get_columns()).filter(~misfit)
    return replace(block, frame=kept, rows=block.rows[~misfit], rejected=block.rejected + found)


def _parsed(name: str, dtype: pl.DataType) -> pl.Expr:
    """A text column as another type; null where a cell does not fit."""
    if dtype == pl.Boolean:
        truth = {"true": True, "false": False}
        return pl.col(name).str.to_lowercase().replace_strict(truth, default=None, return_dtype=pl.Boolean)
    return pl.col(name).cast(dtype, strict=False)


def _type_of(cells: pl.Series) -> pl.DataType:
    """The narrowest type that holds every cell: whole number, number, truth value, text."""
    cells = cells.drop_nulls()
    if not len(cells) or cells.cast(pl.Float64, strict=False).null_count():
        cells = cells.str.strip_chars().replace("", None).drop_nulls()
    if not len(cells) or cells.str.contains(r"^[+-]?0\d+$").any():
        return pl.String()
    for dtype in (pl.Int64(), pl.Float64(), pl.Boolean()):
        if not cells.to_frame("cell").select(_parsed("cell", dtype))["cell"].null_count():
            return dtype
    return pl.String()


def _mostly_numbers(cells: pl.Series) -> bool:
    trimmed = cells.str.strip_chars().replace("", None).drop_nulls()
    padded = trimmed.str.contains(r"^[+-]?0\d+$").any()
    return not padded and 2 * trimmed.cast(pl.Float64, strict=False).count() > len(trimmed)
