"""Parts: the Parquet files of the table `examples`, and the search for ids that occur twice.

While rows stream, 8 bytes a row are kept: a hash of each id. Sorting the hashes at the end shows
whether any could be equal; only then the ids themselves are compared, and only the parts that hold a
repeated id are written again. So equal hashes of different ids never merge two rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.artifacts import Draft
from storage.damage import damage_told
from storage.schemas import check_table


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file that is not yet handed over to the draft."""

    filename: str
    rows: range | NDArray[np.int64]
    """Place in the source of each row; a range where they follow each other."""


class Parts:
    """Writes the parts of the table `examples` and hands them over once every id is settled."""

    def __init__(self, draft: Draft) -> None:
        """Write into a draft."""
        self._draft = draft
        self._parts: list[Part] = []
        self._hashes: list[NDArray[np.uint64]] = []

    def add(self, frame: pl.DataFrame, rows: NDArray[np.int64]) -> None:
        """Write rows as the next part.

        Args:
            frame: (N,) rows of the table `examples`.
            rows: (N,) their places in the source, rising.
        """
        if not len(frame):
            return
        straight = rows[-1] - rows[0] == len(rows) - 1
        part = Part(
            filename=f"examples-{len(self._parts):05d}.parquet",
            rows=range(int(rows[0]), int(rows[-1]) + 1) if straight else rows,
        )
        check_table("dataset", "examples", frame.schema)
        self._write(part, frame)
        self._parts.append(part)
        self._hashes.append(_id_hashes(frame["example_id"]))

    def among(self, stored: Sequence[Path], column: str) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Rows whose value in a column, nulls aside, is in the same column of other files; no other column is read.

        Yields:
            The number of a part that holds such rows, and (N,) which of its rows they are.
        """
        if not stored or not self._parts:
            return
        hashes = np.concatenate([_id_hashes(self._column(part, column).drop_nulls()) for part in self._parts])
        found = pl.concat(_candidates(stored, column, np.sort(hashes)))
        for place, part in enumerate(self._parts if len(found) else ()):
            chosen = self._column(part, column).is_in(found.implode()).fill_null(value=False).to_numpy()
            if chosen.any():
                yield place, chosen

    def settle(self, drop: Callable[[pl.DataFrame, NDArray[np.int64]], None] | None) -> None:
        """Make every id unique.

        Args:
            drop: takes the rows (with their places in the source) whose id an earlier row has, which
                leave the table; None keeps them and puts `#2`, `#3`, ... behind their id.
        """
        hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, dtype=np.uint64)
        self._hashes.clear()
        hashes.sort()
        repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        del hashes
        if not len(repeated):
            return
        seen: dict[str, int] = {}
        for place, part in enumerate(self._parts):
            numbers = _occurrences(self._column(part, "example_id"), repeated, seen)
            if (numbers > 1).any():
                self._parts[place] = self._rewrite(part, numbers, drop)

    def repeats(self, column: str) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Rows whose value in a column an earlier row has, nulls aside.

        Yields:
            The number of a part that holds such rows, and (N,) which of its rows they are.
        """
        hashes = [_id_hashes(self._column(part, column).drop_nulls()) for part in self._parts]
        every = np.sort(np.concatenate(hashes)) if hashes else np.empty(0, dtype=np.uint64)
        repeated = np.unique(every[1:][every[1:] == every[:-1]])
        del hashes, every
        seen: dict[str, int] = {}
        for place, part in enumerate(self._parts if len(repeated) else ()):
            values = self._column(part, column)
            repeats = (_occurrences(values, repeated, seen) > 1) & values.is_not_null().to_numpy()
            if repeats.any():
                yield place, repeats

    def discard(
        self, place: int, chosen: NDArray[np.bool_], drop: Callable[[pl.DataFrame, NDArray[np.int64]], None]
    ) -> None:
        """Take rows out of a part, and hand them with their places in the source to `drop`."""
        self._parts[place] = self._rewrite(self._parts[place], np.where(chosen, 2, 0), drop)

    def hand_over(self) -> Iterator[Part]:
        """Give the files to the draft, one after the other."""
        for part in self._parts:
            if len(part.rows):
                self._draft.add("examples", part.filename)
                yield part

    def _rewrite(
        self, part: Part, numbers: NDArray[np.int64], drop: Callable[[pl.DataFrame, NDArray[np.int64]], None] | None
    ) -> Part:
        frame = pl.read_parquet(self._draft.path(part.filename).read_bytes())
        if drop is None:
            suffix = pl.Series(["" if number < 2 else f"#{number}" for number in numbers.tolist()])
            self._write(part, frame.with_columns(example_id=frame["example_id"] + suffix))
            return part
        repeats = numbers > 1
        places = np.asarray(part.rows, dtype=np.int64)
        drop(frame.filter(repeats), places[repeats])
        self._write(part, frame.filter(~repeats))
        return replace(part, rows=places[~repeats])

    def _column(self, part: Part, name: str) -> pl.Series:
        return pl.read_parquet(self._draft.path(part.filename), columns=[name], glob=False)[name]

    def _write(self, part: Part, frame: pl.DataFrame) -> None:
        with self._draft.writing(part.filename) as path:
            frame.write_parquet(path, compression="zstd", compression_level=1)


def _id_hashes(ids: pl.Series) -> NDArray[np.uint64]:
    """(N,) hashes that are compared within one process only."""
    return ids.hash().to_numpy()


def _candidates(stored: Sequence[Path], column: str, hashes: NDArray[np.uint64]) -> Iterator[pl.Series]:
    """Values in a column of files whose hash is among sorted ones; at least one series, maybe empty."""
    for path in stored:
        with damage_told(str(path)):
            yield pl.read_parquet(path, columns=[column], n_rows=0, glob=False)[column]
            for batch in pq.ParquetFile(path).iter_batches(columns=[column]):
                values = pl.Series(column, batch.column(0)).drop_nulls()
                own = _id_hashes(values)
                if len(hashes) and len(own):
                    places = np.searchsorted(hashes, own).clip(max=len(hashes) - 1)
                    yield values.filter(hashes[places] == own)


def _occurrences(ids: pl.Series, repeated: NDArray[np.uint64], seen: dict[str, int]) -> NDArray[np.int64]:
    """(N,) how many rows up to and with this one have its id, where that could be more than one; else 0."""
    numbers = np.zeros(len(ids), dtype=np.int64)
    for place in np.flatnonzero(np.isin(_id_hashes(ids), repeated)):
        identifier = ids[int(place)]
        seen[identifier] = numbers[place] = seen.get(identifier, 0) + 1
    return numbers
