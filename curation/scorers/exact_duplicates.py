"""Exact duplicates: examples whose content an earlier row of the data set has already.

Every row is compared by the 128-bit hash that examiner `content_hash` gives: on features, on a text as it is, or on
a normalised text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.clusters import check_alarm_share, check_plausible
from curation.scorer import Merge, MergingScorer, check_apart
from storage.values import Array, HighMeans, Scores, Signals


def first_with_same(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(N,) the first row with the hash of each row, itself where there is no earlier one; hashes are (N, 2)."""
    rows = pl.DataFrame({"high": hashes[:, 0], "low": hashes[:, 1], "row": np.arange(len(hashes), dtype=np.int64)})
    found: NDArray[np.int64] = rows.select(pl.col("row").min().over("high", "low"))["row"].to_numpy()
    return found


def known_with_same(hashes: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(M,) the row of `known` (N, 2), whose rows all differ, that has the hash of each row; -1 where none has."""
    wanted = pl.DataFrame({"high": hashes[:, 0], "low": hashes[:, 1]})
    there = pl.DataFrame({"high": known[:, 0], "low": known[:, 1], "row": np.arange(len(known), dtype=np.int64)})
    # First down to the few that are wanted, so that no table of all known ones is built.
    there = there.join(wanted, on=["high", "low"], how="semi")
    found = wanted.join(there, on=["high", "low"], how="left", maintain_order="left")["row"].fill_null(-1)
    rows: NDArray[np.int64] = found.to_numpy()
    return rows


@dataclass(frozen=True, kw_only=True)
class ExactDuplicates(MergingScorer):
    """Score 1 where an earlier row, in the order of the data set, has the same content, else 0.

    Reads `content_hash` (N, 2). Column `keeper`: id of the first row with that content. Further rows change no earlier
    one: state are the distinct hashes so far and where each was first.
    """

    reads: ClassVar[tuple[str, ...]] = ("content_hash",)
    high_means: ClassVar[HighMeans] = "suspect"

    alarm_share: float = 0.5
    """Largest plausible share of duplicates, in (0, 1]; above it scoring fails with a message."""

    def __post_init__(self) -> None:
        check_alarm_share(self.alarm_share)

    def start(self, signals: Signals) -> Merge:
        """Compare all rows with each other."""
        nothing = {"content_hash": np.zeros((0, 2), dtype=np.uint64), "keeper": np.zeros(0, dtype=np.int64)}
        return self._merge(nothing, pl.Series([], dtype=pl.String), signals)

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Compare the new rows with the distinct old ones and with each other."""
        check_apart(earlier.index, signals.index)
        return self._merge(state, earlier.index.ids, signals)

    def _merge(self, state: Mapping[str, Array], earlier_ids: pl.Series, signals: Signals) -> Merge:
        hashes, ids, num_earlier = _checked(signals), signals.index.ids, len(earlier_ids)
        known = known_with_same(hashes, state["content_hash"])
        among_new = first_with_same(hashes)
        old = known >= 0
        names = ids.gather(pl.Series(among_new)).to_numpy().astype(object)
        names[old] = earlier_ids.gather(pl.Series(state["keeper"][known[old]])).to_numpy()
        first = ~old & (among_new == np.arange(len(hashes)))
        merged = {
            "content_hash": np.concatenate([state["content_hash"], hashes[first]]),
            "keeper": np.concatenate([state["keeper"], num_earlier + np.flatnonzero(first)]),
        }
        total, remedy = num_earlier + len(hashes), "look at what 'content_hash' was computed from"
        check_plausible(total - len(merged["keeper"]), total, self.alarm_share, remedy)
        new = Scores(
            index=signals.index,
            values=(~first).astype(np.float64),
            high_means=self.high_means,
            columns={"keeper": names},
        )
        return Merge(state=merged, new=new)


def _checked(signals: Signals) -> NDArray[np.uint64]:
    hashes = signals["content_hash"]
    if hashes.dtype != np.uint64 or hashes.shape != (len(signals), 2):
        raise ValueError(f"signal 'content_hash' must be (N, 2) of uint64, got {hashes.shape} of {hashes.dtype}")
    return hashes
