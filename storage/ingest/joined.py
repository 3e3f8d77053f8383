"""Joined: a source whose rows get further columns from a second file, matched by key.

The second file is for labels: several people's, or the truth beside what a crowd said. Its columns
are held in memory, some tens of bytes a row; the source itself streams. A row without a partner goes to
quarantine as `no label row`; partners without a row are counted as the warning `label row without an example`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from storage.errors import SourceError
from storage.ingest.source import Block, Format, Header, Rejected, Source, open_format, row_json

UNMATCHED = "label row without an example"
"""The warning about partners without a row."""

_PLACE = "label_row_place"


class Joined:
    """A format's reader with the columns of a second file."""

    def __init__(self, reader: Format, labels: str, key: str) -> None:
        """Join what `reader` reads with the file `labels` on the column `key` of both; nothing is read yet."""
        self.PLACE = reader.PLACE
        self.warnings: dict[str, int] = {}
        """Rows by warning, once `read` has ended."""
        self._reader, self._labels, self._key = reader, labels, key

    def columns(self, location: str) -> Header:
        """The source's columns, then the second file's without the key.

        Raises:
            SourceError: the key is not in both, or another column is.
        """
        header = self._reader.columns(location)
        second = open_format(Source(location=self._labels)).columns(self._labels)
        for where, columns in ((location, header.columns), (self._labels, second.columns)):
            if self._key not in columns:
                raise SourceError(f"label_key {self._key!r} is not a column of {where}; it has {', '.join(columns)}")
            dtype = columns[self._key]
            if not (dtype.is_integer() or dtype == pl.String):
                raise SourceError(f"label_key {self._key!r} of {where} is {dtype}; keys are whole numbers or text")
        for name in second.columns:
            if name != self._key and name in header.columns:
                raise SourceError(f"{location} and {self._labels} both have a column {name!r}; rename one")
        added = {name: _settled(second, name) for name in second.columns if name != self._key}
        return replace(
            header, columns={**header.columns, **added}, nested=[*header.nested, *(set(second.nested) - {self._key})]
        )

    def read(self, location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
        """Blocks of rows with their partners' columns."""
        labels = self._partners()
        own = {name: types[name] for name in self._reader.columns(location).columns}
        matched = np.zeros(len(labels), dtype=np.bool_)
        for block in self._reader.read(location, own):
            texts = block.frame.select(pl.col(self._key).cast(pl.String))
            joined = texts.join(labels, on=self._key, how="left", maintain_order="left")
            lonely = joined[_PLACE].is_null()
            matched[joined[_PLACE].drop_nulls().to_numpy()] = True
            frame = block.frame.hstack(joined.drop(self._key, _PLACE)).select(list(types))
            frame = frame.cast({name: types[name] for name in types if name not in own})
            if not lonely.any():
                yield replace(block, frame=frame)
                continue
            rejected = tuple(
                Rejected(
                    source_row=int(block.rows[at]),
                    rule="no label row",
                    row=row_json(block.frame.row(int(at), named=True)),
                )
                for at in np.flatnonzero(lonely.to_numpy())
            )
            kept = ~lonely.to_numpy()
            yield replace(block, frame=frame.filter(kept), rows=block.rows[kept], rejected=block.rejected + rejected)
        self.warnings = {UNMATCHED: int((~matched).sum())} if not matched.all() else {}

    def fingerprint(self, location: str) -> str:
        """Not asked of a join: `storage.ingest.source.fingerprint` combines those of the two files."""
        raise NotImplementedError

    def _partners(self) -> pl.DataFrame:
        """The second file, its key as text, with the place of each row."""
        reader = open_format(Source(location=self._labels))
        header = reader.columns(self._labels)
        types = {name: _settled(header, name) for name in header.columns}
        types[self._key] = pl.String() if header.inferred else header.columns[self._key]
        blocks = []
        for block in reader.read(self._labels, types):
            if block.rejected:
                first = block.rejected[0]
                raise SourceError(
                    f"{reader.PLACE} {first.source_row} of {self._labels} cannot be read: {first.rule}; correct it, "
                    "for a second file has no quarantine"
                )
            blocks.append(block.frame.with_columns(pl.col(self._key).cast(pl.String)))
        labels = pl.concat(blocks).with_row_index(_PLACE)
        keys = labels[self._key]
        if keys.null_count():
            raise SourceError(f"label_key {self._key!r} of {self._labels} is null in {keys.null_count()} rows; fill it")
        if keys.n_unique() < len(keys):
            twice = keys.filter(keys.is_duplicated())[0]
            raise SourceError(f"{self._labels} has the key {twice!r} more than once; keep one row of each key")
        return labels


def _settled(header: Header, name: str) -> pl.DataType:
    """A column's type, truth values of text files as text: what a label column of such a file is."""
    dtype = header.columns[name]
    return pl.String() if header.inferred and dtype == pl.Boolean else dtype
