"""Append: a data set's rows as they are, in the very files they are in, and new rows behind them.

What a reader may rely on:

- Old rows keep their bytes, ids, splits and labels: their files are listed, not read (but for the
  ids, which new ones are held against).
- A new row whose id is there already goes to quarantine as `duplicate key`. Without a key column the id is made
  of the content, so a row that is stored already does too.
- Classes, groups and categories keep their places; new ones follow behind, numbers by value and others by text.
- A label layer (planted noise, corrections) carries over. New rows have the labels of their source; where the
  layer came with the truth of old rows and the source has none, their label is taken to be it.
- Counts are those of all rows ever read: read = kept + quarantined still holds, and the quarantine has all rows.

Memory is that of an ingest of the new rows, and the ids that come twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from storage.artifacts import Draft
from storage.contract import KEY, Contract
from storage.dataset import Dataset
from storage.errors import SourceError
from storage.ingest.columns import arrange_columns
from storage.ingest.source import Block, Format, Header, Source, open_format
from storage.ingest.write import IngestReport, ingest_from
from storage.schemas import DatasetSchema, Feature, Roles
from storage.splits import SplitFractions


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How rows of a data set are read: as the first of them were."""

    name: str
    """The data set's name, in front of every id."""
    roles: Roles
    splits: SplitFractions
    contract: Contract
    seed: int
    """Decides the drawn splits; the same as before, so that equal rows share a split."""


def append_examples(draft: Draft, dataset: Dataset, source: Source, wanted: Wanted) -> Iterator[IngestReport]:
    """Fill a draft of kind `dataset` with a data set's rows and those of a source.

    Args:
        draft: lists the data set's files and gets new ones for the new rows.
        dataset: what is there.
        source: where new rows are.
        wanted: how they are read.

    Yields:
        A report on the new rows after every block.

    Raises:
        SourceError: the source cannot be read, its columns do not fit, or none of its rows is new and good.
        ContractError: rows break the contract and its action is `fail`.
    """
    old = dataset.record
    if "embedding" in old.meta:
        raise SourceError(
            f"{dataset.id} has embeddings, which the rows of {source.location} lack; store the text under a name of "
            'its own, append there, and embed that by a recipe with `dataset = "<that name>"`'
        )
    for table in ("examples", "labels", "quarantine"):
        draft.share(old.table(table))
    shared, contract = len(draft.paths("examples")), wanted.contract
    if contract.rows is not None:
        fewest, most = (max(0, number - len(dataset)) for number in contract.rows)
        contract = replace(contract, rows=(fewest, most))
    yield from ingest_from(
        draft,
        name=wanted.name,
        reader=_Fitted(open_format(source), dataset, wanted.roles),
        location=source.location,
        roles=wanted.roles,
        splits=wanted.splits,
        contract=contract,
        seed=wanted.seed,
        stored=dataset.paths("examples"),
    )
    for path in draft.paths("examples")[shared:]:
        _extend_layer(draft, dataset, pl.read_parquet(path, columns=_label_columns(path), glob=False))
    added = draft.meta
    draft.meta = {
        **old.meta,
        "schema": _joined_schema(dataset.schema, DatasetSchema.from_json(added["schema"])).to_json(),
        "counts": _summed(old.meta["counts"], added["counts"]),
        "appended": added["counts"],
        "source": {**added["source"], **asdict(source), "format": source.kind()},
    }


class _Fitted:
    """A format's reader whose columns must be those that the data set was read from."""

    def __init__(self, reader: Format, dataset: Dataset, roles: Roles) -> None:
        self.PLACE = reader.PLACE
        self._reader, self._dataset, self._roles = reader, dataset, roles

    @property
    def warnings(self) -> Mapping[str, int]:
        """Rows by warning, once `read` has ended."""
        found: Mapping[str, int] = getattr(self._reader, "warnings", {})
        return found

    def columns(self, location: str) -> Header:
        """The source's columns; those of text with the types stored, since types of a text are a guess.

        Raises:
            SourceError: a column is missing, new or of another type.
        """
        header = self._reader.columns(location)
        known = self._dataset.record.meta["source"]["columns"]
        missing = [name for name in known if name not in header.columns]
        strange = [name for name in header.columns if name not in known]
        if missing or strange:
            told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(strange)} too"] * bool(strange)
            raise SourceError(f"{location} does not fit {self._dataset.id}: it {' and '.join(told)}")
        stored = self._dataset.stored_types()
        header = replace(header, columns={name: self._sized(name, header, stored) for name in known})
        if header.inferred:
            typed = {name: self._stored(name, dtype, stored) for name, dtype in header.columns.items()}
            header = replace(header, columns=typed, mostly_numbers=())
        for ours, dtype in arrange_columns(header, self._roles, location).types.items():
            is_array = isinstance(stored.get(ours), pl.Array)
            if ours != KEY and not is_array and stored[ours] != dtype:
                raise SourceError(
                    f"column {ours!r} of {location} is {dtype} and {stored[ours]} in {self._dataset.id}; cast it there"
                )
        return header

    def _sized(self, name: str, header: Header, stored: Mapping[str, pl.DataType]) -> pl.DataType:
        """A column's type; that of a vector with the length that is stored.

        Raises:
            SourceError: where vectors are stored the source has something else.
        """
        found = header.columns[name]
        if not any(one.name == name and one.kind == "vector" for one in self._dataset.schema.features):
            return found
        if name not in header.number_lists and not isinstance(found, pl.List | pl.Array):
            raise SourceError(f"column {name!r} of the new rows is {found}, and vectors in {self._dataset.id}; cast it")
        return stored[name]

    def _stored(self, name: str, guessed: pl.DataType, stored: Mapping[str, pl.DataType]) -> pl.DataType:
        """The type to read a column of text as."""
        roles = self._roles
        ours = {roles.label: "label", roles.clean_label: "clean_label"}.get(name, name)
        if name in (roles.key, roles.split, roles.group) or isinstance(guessed, pl.List | pl.Array):
            return guessed
        found = stored.get(ours if ours in stored else f"{name}_original", guessed)
        return pl.Boolean() if found == pl.UInt8 else found

    def read(self, location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
        """Blocks that say which source they are of, so that places in the quarantine stay clear."""
        for block in self._reader.read(location, types):
            yield replace(block, file=block.file or Path(location).name)

    def fingerprint(self, location: str) -> str:
        """SHA-256 of the content, in hexadecimal digits."""
        return self._reader.fingerprint(location)


def _label_columns(path: Path) -> list[str]:
    return [name for name in pl.read_parquet_schema(path) if name in ("example_id", "label", "clean_label")]


def _extend_layer(draft: Draft, dataset: Dataset, rows: pl.DataFrame) -> None:
    """Write the label layer of new rows, where the data set has one."""
    laid = dataset.layer_types()
    if not laid:
        return
    own = {"clean_label": "clean_label" if "clean_label" in rows else "label", "label": "label"}
    columns = [
        (pl.col(own[name]) if name in own else pl.lit(None)).cast(dtype).alias(name) for name, dtype in laid.items()
    ]
    draft.add_table("labels", rows.select("example_id", *columns))


def _joined_schema(old: DatasetSchema, new: DatasetSchema) -> DatasetSchema:
    """The old schema with new classes, groups and categories behind the old ones."""
    features = tuple(_joined_feature(*pair) for pair in zip(old.features, new.features, strict=True))
    return replace(
        old,
        features=features,
        classes=_behind(old.classes, new.classes),
        groups=_behind(old.groups, new.groups),
    )


def _joined_feature(old: Feature, new: Feature) -> Feature:
    return replace(old, categories=_behind(old.categories, new.categories))


def _behind(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    return (*old, *(one for one in new if one not in old))


def _summed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of both, by name; those by rule, split and warning inside one another."""
    return {
        name: _summed(old.get(name) or {}, new.get(name) or {})
        if isinstance(new.get(name, old.get(name)), Mapping)
        else old.get(name, 0) + new.get(name, 0)
        for name in dict.fromkeys((*old, *new))
    }
