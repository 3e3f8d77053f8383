"""Given signals: a user's probabilities, logits, embeddings or scores per example, checked and kept by example id.

A source of any format will do. Its column `example_id` (such as `reviews:17`) or `key` (`17`) says which row is
whose. Arrays are columns of lists or of numbers, and columns `probs_0`, `probs_1`, ... together make the array
`probs`, which is also what an NPZ file's array of two axes is read as. Memory is one block of rows and the ids.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.artifacts import Artifacts, Draft, Record
from storage.dataset import Dataset
from storage.errors import SourceError
from storage.growth import grown_from
from storage.ingest.source import Format
from storage.values import Array

Holds = Literal["probs", "logits", "numbers"]
"""What an array is: rows of K probabilities with the sum 1, rows of K logits, or any finite numbers."""

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from 1 in sum: what single precision loses over 1,000 classes."""

_IDS = ("example_id", "key")
_NUMBERED = re.compile(r"(.+)_(0|[1-9][0-9]*)")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to take of a source of signals."""

    take: Mapping[str, str] = field(default_factory=dict)
    """Array of the source by the name it gets here; empty takes all under their own names."""
    classes: tuple[str, ...] = ()
    """Order of the classes in arrays of probabilities or logits; empty is the data set's own order."""


@dataclass(frozen=True, kw_only=True)
class GivenReport:
    """How far the reading has come; read = used + of other splits."""

    read: int
    used: int
    """Rows of the training split."""
    other_splits: int
    """Rows of the validation and test splits, which are left out: no scorer sees them."""
    fraction: float
    """Share of the source read so far, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """One array: which columns it is made of."""

    name: str
    columns: tuple[str, ...]

    @property
    def holds(self) -> Holds:
        """By its name: `probs` or `..._probs`, `logits` or `..._logits`, else numbers."""
        ends = self.name.rpartition("_")[2]
        return "probs" if ends == "probs" else "logits" if ends == "logits" else "numbers"


def fill_signals(
    draft: Draft, dataset: Dataset, reader: Format, location: str, wish: Wish, earlier: Record | None = None
) -> Iterator[GivenReport]:
    """Fill a draft of kind `signals` with a source's rows of the training split; complete when the iterator ends.

    Args:
        draft: gets the table `signals`, files of `earlier` first, and meta: what each array is, and counts.
        dataset: whose rows they are of.
        reader: reads the source.
        location: where it is.
        wish: what to take.
        earlier: signals of the first rows of this data set, to which these are added.

    Yields:
        A report after every block.

    Raises:
        SourceError: ids are missing, unknown or twice, an example of the training split has no row, an array is
            not what its name says or does not fit the data set's classes, or does not fit the earlier ones.
    """
    header = reader.columns(location)
    named = _id_column(list(header.columns), dataset, location)
    taken = _taken(header.columns, named, wish, location)
    classes = dataset.schema.classes
    order = {one.name: _class_order(one, classes, wish, location) for one in taken if one.holds != "numbers"}
    rows = _Rows(dataset, earlier, location)
    types_before = _share(draft, earlier)
    types = {named: pl.String() if header.inferred else header.columns[named]}
    types |= {column: header.columns[column] for one in taken for column in one.columns}
    read = other = 0
    for block in reader.read(location, types):
        if block.rejected:
            first = block.rejected[0]
            raise SourceError(f"{reader.PLACE} {first.source_row} of {location} is broken: {first.rule}; correct it")
        ids = block.frame[named].cast(pl.String)
        if named != "example_id":
            ids = pl.select(pl.concat_str(pl.lit(f"{rows.name}:"), ids)).to_series()
        kept = rows.take(ids)
        read, other = read + len(ids), other + len(ids) - len(kept)
        described: dict[str, Any] = {}
        columns: dict[str, pl.Series] = {"example_id": ids.gather(kept).alias("example_id")}
        for one in taken:
            array = _array(block.frame, one, location)[kept]
            if one.name in order:
                array = _by_class(array, one, order[one.name], location)
            _check(array, one, columns["example_id"], location)
            column = pl.Series(one.name, np.ascontiguousarray(array))
            columns[one.name] = _typed_as_before(column, types_before.get(one.name), location)
            described[one.name] = {"shape": list(array.shape[1:]), "epochs": [], "holds": one.holds}
        _check_fits(described, draft.meta.get("signals") or (earlier.meta["signals"] if earlier else None), location)
        draft.meta["signals"] = described
        if len(kept):
            draft.add_table("signals", pl.DataFrame(list(columns.values())))
            types_before = {name: column.dtype for name, column in columns.items()}
        yield GivenReport(read=read, used=rows.used, other_splits=other, fraction=block.fraction)
    rows.check_complete()
    draft.meta |= {"counts": {"read": read, "used": rows.used, "other_splits": other}, "given": location}


def check_is_score(name: str, dataset: Dataset, reader: Format, location: str, wish: Wish) -> None:
    """Refuse an array as a score that a source does not give, or gives several numbers of for each example.

    Raises:
        SourceError: it is one of the two.
    """
    header = reader.columns(location)
    named = _id_column(list(header.columns), dataset, location)
    taken = {one.name: one for one in _taken(header.columns, named, wish, location)}
    if name not in taken:
        raise SourceError(
            f"{location} gives {', '.join(taken)} and not {name!r}, the score; name its array with --take {name}=ARRAY"
        )
    columns = taken[name].columns
    if len(columns) > 1 or header.columns[columns[0]].is_nested():
        raise SourceError(f"{name!r} of {location} has several numbers for each example, and a score has one")


def check_owner(known: Record, name: str, dataset: str) -> None:
    """Refuse a name that another data set's signals have.

    Args:
        known: the newest signals of that name.
        name: the name.
        dataset: name of the data set whose signals want it.
    """
    owner = known.request.settings["given"]["dataset"]
    if owner != dataset:
        raise ValueError(f"signals {name!r} are of data set {owner!r}; choose another name with --as")


def check_extends(artifacts: Artifacts, earlier: Record, dataset: str) -> None:
    """Refuse to put signals behind those of another data set than one that this one grew from.

    Args:
        artifacts: of the store.
        earlier: signals to put others behind.
        dataset: id of the data set that the others are of.
    """
    if earlier.request.inputs["dataset"] not in (one.record.id for one in grown_from(artifacts, dataset)):
        raise ValueError(
            f"{earlier.id} is not of an earlier version that {dataset} grew from, so nothing can be appended to it; "
            "leave --append out and give all rows"
        )


class _Rows:
    """Which rows of the data set the source has given so far."""

    def __init__(self, dataset: Dataset, earlier: Record | None, location: str) -> None:
        self._location = location
        frame = dataset.scan().select("example_id", "split").collect()
        ids = frame.filter(pl.col("split") == "train")["example_id"]
        self._others = frame.filter(pl.col("split") != "train").select("example_id")
        self.name = str(frame["example_id"][0]).partition(":")[0]
        self._before = pl.Series("example_id", [], dtype=pl.String)
        if earlier is not None:
            self._before = ids.head(earlier.rows("signals"))
            ids = ids.slice(earlier.rows("signals"))
        self._ids = ids
        self._wanted = pl.DataFrame({"example_id": ids, "position": np.arange(len(ids), dtype=np.int64)})
        self._seen = np.zeros(len(ids), dtype=np.bool_)

    @property
    def used(self) -> int:
        """Rows of the training split given so far."""
        return int(self._seen.sum())

    def take(self, ids: pl.Series) -> NDArray[np.int64]:
        """Places in a block of the rows to keep."""
        if ids.null_count():
            raise SourceError(f"{ids.null_count()} rows of {self._location} have no id; fill or drop them")
        found = (
            ids.alias("example_id").to_frame().join(self._wanted, on="example_id", how="left", maintain_order="left")
        )
        position = found["position"]
        strange = found.filter(position.is_null()).join(self._others, on="example_id", how="anti")["example_id"]
        if len(strange):
            given = strange.filter(strange.is_in(self._before.implode()))
            if len(given):
                raise SourceError(
                    f"{len(given)} rows of {self._location} are of examples that have these signals already "
                    f"(first: {given[0]!r}); with --append give those of new examples alone"
                )
            raise SourceError(
                f"{len(strange)} of {len(ids)} ids of {self._location} are not in the data set (first: {strange[0]!r})"
            )
        places = np.flatnonzero(position.is_not_null().to_numpy())
        positions = position.drop_nulls().to_numpy()
        twice = self._seen[positions].copy()
        twice[pl.Series(positions).is_duplicated().to_numpy()] = True
        if twice.any():
            first = self._ids[int(positions[twice][0])]
            number = pl.Series(positions[twice]).n_unique()
            raise SourceError(f"{number} examples come more than once in {self._location} (first: {first!r})")
        self._seen[positions] = True
        return places

    def check_complete(self) -> None:
        """Refuse a source that leaves out examples of the training split."""
        missing = np.flatnonzero(~self._seen)
        if len(missing):
            raise SourceError(
                f"{len(missing)} of {len(self._ids)} training examples have no row in {self._location} "
                f"(first: {self._ids[int(missing[0])]!r}); signals must cover the training split"
            )


def _id_column(columns: list[str], dataset: Dataset, location: str) -> str:
    """The column that tells the rows apart: ids, keys, or the one that the data set was ingested with as its key."""
    own = dataset.own_key()
    found = [name for name in _IDS if name in columns] or [name for name in columns if name == own]
    if len(found) == 1:
        return found[0]
    further = f", or {own!r}, the data set's own key" if own else ""
    raise SourceError(
        f"{location} needs one column 'example_id' (such as reviews:17) or 'key' (17){further}; "
        f"it has {', '.join(columns)}"
    )


def _taken(columns: Mapping[str, pl.DataType], named: str, wish: Wish, location: str) -> list[_Taken]:
    """The arrays to take, each with its columns."""
    found: dict[str, list[str]] = {}
    for column in columns:
        numbered = _NUMBERED.fullmatch(column)
        array = numbered[1] if numbered and f"{numbered[1]}_0" in columns and f"{numbered[1]}_1" in columns else column
        if column != named:
            found.setdefault(array, []).append(column)
    wanted = wish.take or {name: name for name in found}
    missing = [name for name in wanted.values() if name not in found]
    if missing or not wanted:
        raise SourceError(f"{location} has no array {', '.join(missing)}; it has {', '.join(found) or 'none'}")
    arrays = []
    for name, array in wanted.items():
        parts = sorted(found[array], key=lambda one: int(one.rpartition("_")[2])) if len(found[array]) > 1 else [array]
        if len(parts) > 1 and parts[-1] != f"{array}_{len(parts) - 1}":
            raise SourceError(f"the columns {parts[0]} to {parts[-1]} of {location} are not numbered without a gap")
        types = {columns[part].base_type() for part in parts}
        is_list = types <= {pl.Array, pl.List} and len(parts) == 1
        if not is_list and not all(columns[part].is_numeric() or columns[part] == pl.Boolean for part in parts):
            raise SourceError(f"array {array!r} of {location} must be numbers, got {columns[parts[0]]}")
        arrays.append(_Taken(name=name, columns=tuple(parts)))
    return arrays


def _array(frame: pl.DataFrame, taken: _Taken, location: str) -> Array:
    """(N,) or (N, D) numbers of one array."""
    parts = [frame[column] for column in taken.columns]
    if any(part.null_count() for part in parts):
        raise SourceError(f"array {taken.name!r} of {location} has {sum(p.null_count() for p in parts)} empty cells")
    if isinstance(parts[0].dtype, pl.List):
        widths = parts[0].list.len().unique()
        if len(widths) != 1:
            told = " or ".join(str(one) for one in widths.sort().to_list())
            raise SourceError(f"array {taken.name!r} of {location} has rows of {told} numbers")
        parts = [parts[0].list.to_array(int(widths[0]))]
    arrays = [part.to_numpy() for part in parts]
    array: Array = np.stack(arrays, axis=1) if len(arrays) > 1 else arrays[0]
    if array.dtype.kind not in "biuf":
        raise SourceError(f"array {taken.name!r} of {location} must be numbers, got {array.dtype}")
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def _class_order(taken: _Taken, classes: tuple[str, ...], wish: Wish, location: str) -> NDArray[np.int64]:
    """(K,) where each of the data set's classes stands in the array."""
    if not classes:
        raise SourceError(f"array {taken.name!r} of {location} is one of classes, and the data set has no labels")
    given = wish.classes or classes
    if sorted(given) != sorted(classes):
        raise SourceError(f"the order of classes given is {', '.join(given)}; the data set has {', '.join(classes)}")
    return np.array([given.index(one) for one in classes])


def _by_class(array: Array, taken: _Taken, order: NDArray[np.int64], location: str) -> Array:
    if array.ndim != 2 or array.shape[1] != len(order):
        width = "one number" if array.ndim == 1 else f"{array.shape[1]} numbers"
        raise SourceError(
            f"array {taken.name!r} of {location} has {width} a row, and the data set has {len(order)} classes"
        )
    ordered: Array = array[:, order]
    return ordered


def _check(array: Array, taken: _Taken, ids: pl.Series, location: str) -> None:
    """Refuse what is not finite, and rows of probabilities that are none."""
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    broken = ~np.isfinite(flat).all(axis=1)
    what = "not finite"
    if taken.holds == "probs" and not broken.any():
        sums = flat.sum(axis=1, dtype=np.float64)
        broken = (flat < 0).any(axis=1) | (flat > 1).any(axis=1)
        what = "no probabilities in [0, 1]"
        if not broken.any():
            broken = np.abs(sums - 1) > SUM_TOLERANCE
            what = f"no probabilities with the sum 1 (within {SUM_TOLERANCE})"
    places = np.flatnonzero(broken)
    if len(places):
        raise SourceError(
            f"array {taken.name!r} of {location} holds {what} for {len(places)} examples (first: "
            f"{ids[int(places[0])]!r} has {np.array2string(flat[int(places[0])], precision=4, threshold=6)})"
        )


def _share(draft: Draft, earlier: Record | None) -> dict[str, pl.DataType]:
    """List the files of earlier signals first; the types of their columns, from one file, which is all that is read."""
    files = () if earlier is None else earlier.table("signals")
    draft.share(files[:1])
    types = dict(pl.read_parquet_schema(draft.paths("signals")[0])) if files else {}
    draft.share(files[1:])
    return types


def _typed_as_before(column: pl.Series, dtype: pl.DataType | None, location: str) -> pl.Series:
    """The numbers in the type that those before have, where none changes by it."""
    width = column.dtype.shape if isinstance(column.dtype, pl.Array) else ()
    if dtype is None or dtype == column.dtype or width != (dtype.shape if isinstance(dtype, pl.Array) else ()):
        return column
    typed = column.cast(dtype, strict=False)
    if not np.array_equal(typed.to_numpy(), column.to_numpy()):
        raise SourceError(
            f"array {column.name!r} of {location} is {column.dtype}, and those before are {dtype}, which cannot hold "
            "its numbers as they are; cast it there"
        )
    return typed


def _check_fits(described: Mapping[str, Any], known: Mapping[str, Any] | None, location: str) -> None:
    """Refuse arrays of other names or widths than those before."""
    if known is not None and dict(known) != dict(described):
        told = [f"{name} {one['shape']}" for side in (known, described) for name, one in side.items()]
        half = len(known)
        raise SourceError(
            f"the arrays of {location} are {', '.join(told[half:])} a row, and those before {', '.join(told[:half])}"
        )
