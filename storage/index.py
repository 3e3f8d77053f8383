"""ExampleIndex: the ids of one run, in a fixed order, and the dense positions that arrays use."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256

import numpy as np
import polars as pl
from numpy.typing import NDArray


class ExampleIndex:
    """Immutable example ids in a fixed order; `position` is the dense row number of an id.

    Two indexes are equal when they hold the same ids in the same order.
    """

    def __init__(self, ids: Iterable[str] | pl.Series) -> None:
        """Take N distinct ids.

        Args:
            ids: (N,) strings such as "digits:17", without nulls or repeats.

        Raises:
            ValueError: an id is null or occurs twice (the message names the first).
        """
        column = ids if isinstance(ids, pl.Series) else pl.Series(list(ids), dtype=pl.String)
        if column.dtype != pl.String:
            raise TypeError(f"example ids must be strings, got {column.dtype}")
        if column.null_count():
            raise ValueError(f"{column.null_count()} of {len(column)} example ids are null")
        if column.n_unique() != len(column):
            first = column.filter(column.is_duplicated())[0]
            raise ValueError(f"example id {first!r} occurs more than once")
        self._ids = column.alias("example_id")

    @property
    def ids(self) -> pl.Series:
        """(N,) ids as a Polars string column."""
        return self._ids

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ids and their order: 32 hexadecimal digits."""
        digest = sha256(str(len(self._ids)).encode())
        for chunk in self._ids.to_frame().iter_slices(100_000):
            for identifier in chunk["example_id"].to_list():
                digest.update(f"{len(identifier)}:{identifier}".encode())
        return digest.hexdigest()[:32]

    def positions(self, ids: Iterable[str] | pl.Series) -> NDArray[np.int64]:
        """Positions of some ids.

        Args:
            ids: (M,) ids, repeats allowed.

        Returns:
            (M,) positions in [0, N).

        Raises:
            ValueError: an id is not in this index; the message counts them and names the first.
        """
        wanted = ids if isinstance(ids, pl.Series) else pl.Series(list(ids), dtype=pl.String)
        found = (
            wanted.alias("example_id")
            .to_frame()
            .join(self._table, on="example_id", how="left", maintain_order="left")["position"]
        )
        if found.null_count():
            missing = wanted.filter(found.is_null())
            raise ValueError(
                f"{len(missing)} of {len(wanted)} ids are not among these {len(self)} examples (first: {missing[0]!r})"
            )
        positions: NDArray[np.int64] = found.to_numpy().astype(np.int64)
        return positions

    @cached_property
    def _table(self) -> pl.DataFrame:
        return pl.DataFrame({"example_id": self._ids, "position": np.arange(len(self), dtype=np.int64)})

    def take(self, positions: NDArray[np.integer]) -> "ExampleIndex":
        """Index of the ids at these positions, in that order."""
        return ExampleIndex(self._ids.gather(np.asarray(positions)))

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, position: int) -> str:
        return str(self._ids[int(position)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __contains__(self, identifier: str) -> bool:
        return bool((self._ids == identifier).any())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExampleIndex):
            return NotImplemented
        return self is other or self._ids.equals(other._ids)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        first = f", first {self._ids[0]!r}" if len(self) else ""
        return f"ExampleIndex({len(self)} ids{first})"
