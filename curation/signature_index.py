"""Signature index: MinHash signatures by their bands, so that pairs worth comparing are found without trying all.

Locality-sensitive hashing after Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", 3rd
edition, 2020, section 3.4. http://www.mmds.org A signature of P entries is cut into b bands of r
entries; two texts are a pair where one band agrees whole, with probability 1 - (1 - s^r)^b at similarity s.

Differs from the book: bands are compared by a 64-bit hash, and every pair is then verified on the whole signatures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.clusters import united
from curation.shingles import at_place, mixed
from storage.values import Array

Rows = NDArray[np.int64]
Keys = NDArray[np.uint64]
Signatures = NDArray[np.uint32]

PAIRS_AT_ONCE = 1 << 15
"""Pairs verified together."""


@dataclass(frozen=True, kw_only=True)
class Bands:
    """How a signature is cut: `number` bands of `size` entries; entries beyond them only verify."""

    number: int
    size: int

    def candidate_probability(self, similarity: float) -> float:
        """Probability that two texts of this similarity agree in some band."""
        return float(1 - (1 - similarity**self.size) ** self.number)


def bands_for(num_hashes: int, threshold: float, recall: float) -> Bands:
    """The longest bands, hence the fewest pairs, that find pairs at the threshold with at least this probability.

    Args:
        num_hashes: P, entries of a signature.
        threshold: similarity, in (0, 1].
        recall: probability, in (0, 1).

    Raises:
        ValueError: not even bands of one entry find them so often.
    """
    for size in range(num_hashes, 0, -1):
        bands = Bands(number=num_hashes // size, size=size)
        if bands.candidate_probability(threshold) >= recall:
            return bands
    raise ValueError(
        f"signatures of {num_hashes} hashes cannot find pairs of similarity {threshold} with probability {recall}; "
        "raise num_hashes of the signatures, or the threshold"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SignatureIndex:
    """Signatures of N rows, each row's keeper, and sorted keys of the U rows whose signature no earlier row has."""

    signatures: Signatures
    """(N, P) signatures."""
    keepers: Rows
    """(N,) first row of each row's cluster."""
    keys: Keys
    """(b + 1, U) keys in ascending order: of each band, and last of the whole signature."""
    rows: NDArray[np.int32]
    """(b + 1, U) row of each key; ascending where keys are equal."""

    @staticmethod
    def empty(num_hashes: int, bands: Bands) -> "SignatureIndex":
        """An index of no rows."""
        return SignatureIndex(
            signatures=np.zeros((0, num_hashes), dtype=np.uint32),
            keepers=np.zeros(0, dtype=np.int64),
            keys=np.zeros((bands.number + 1, 0), dtype=np.uint64),
            rows=np.zeros((bands.number + 1, 0), dtype=np.int32),
        )

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array]) -> "SignatureIndex":
        """The index that `arrays` gave."""
        return SignatureIndex(
            signatures=arrays["signatures"], keepers=arrays["keepers"], keys=arrays["keys"], rows=arrays["rows"]
        )

    @property
    def arrays(self) -> dict[str, Array]:
        """The index as named arrays."""
        return {"signatures": self.signatures, "keepers": self.keepers, "keys": self.keys, "rows": self.rows}

    def extended(self, signatures: Signatures, bands: Bands, threshold: float) -> "SignatureIndex":
        """The index with further rows, whose pairs have been looked for among themselves and with the old rows.

        Clusters are the connected parts of the graph of all rows that joins two where a band agrees and the estimated
        similarity reaches the threshold: they do not depend on how the rows were cut into batches.
        """
        num_earlier = len(self.signatures)
        every = np.concatenate([self.signatures, signatures])
        keepers = np.concatenate([self.keepers, np.arange(num_earlier, len(every))])
        keys = band_keys(signatures, bands)
        twins = self._twins(every, keys[-1])
        keepers = united(keepers, twins[0], twins[1])
        fresh = np.ones(len(signatures), dtype=np.bool_)
        fresh[twins[1] - num_earlier] = False
        new_rows = num_earlier + np.flatnonzero(fresh)
        keys = keys[:, fresh]
        orders = np.argsort(keys, axis=1, kind="stable")
        new_keys, new_rows = np.take_along_axis(keys, orders, axis=1), new_rows[orders]
        least = least_equal(threshold, every.shape[1])
        for band in range(bands.number):
            old = (self.keys[band], self.rows[band])
            for first, second in candidate_pairs(old, (new_keys[band], new_rows[band])):
                apart = keepers[first] != keepers[second]
                alike = agreeing(every, first[apart], second[apart]) >= least
                keepers = united(keepers, first[apart][alike], second[apart][alike])
        merged = [
            _merged(self.keys[place], self.rows[place], new_keys[place], new_rows[place])
            for place in range(bands.number + 1)
        ]
        return SignatureIndex(
            signatures=every,
            keepers=keepers,
            keys=np.stack([pair[0] for pair in merged]),
            rows=np.stack([pair[1] for pair in merged]),
        )

    def _twins(self, every: Signatures, keys: Keys) -> tuple[Rows, Rows]:
        """Earlier rows and new rows with one signature, each new row at most once."""
        new_rows = len(self.signatures) + np.arange(len(keys))
        places = np.searchsorted(self.keys[-1], keys)
        found = np.full(len(keys), -1, dtype=np.int64)
        within = places < self.keys.shape[1]
        met = np.flatnonzero(within)
        met = met[self.keys[-1][places[met]] == keys[met]]
        found[met] = self.rows[-1][places[met]]
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        among_new = new_rows[first[inverse]]
        found = np.where(found < 0, np.where(among_new < new_rows, among_new, -1), found)
        second = np.flatnonzero(found >= 0)
        same = agreeing(every, found[second], new_rows[second]) == every.shape[1]
        return found[second][same], new_rows[second][same]


def band_keys(signatures: Signatures, bands: Bands) -> Keys:
    """(b + 1, N) hash of each band of each signature, and last of each whole signature."""
    keys = np.zeros((bands.number + 1, len(signatures)), dtype=np.uint64)
    for entry in range(signatures.shape[1]):
        values = at_place(signatures[:, entry].astype(np.uint64), entry)
        keys[-1] += values
        if entry < bands.number * bands.size:
            keys[entry // bands.size] += values
    return mixed(keys)


def candidate_pairs(old: tuple[Keys, Rows], new: tuple[Keys, Rows]) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of a new row with an old or an earlier new one that has the same key, in blocks.

    Args:
        old: (U,) sorted keys and their rows.
        new: (M,) sorted keys and their rows.
    """
    here = np.arange(len(new[0]))
    runs = (
        (old[1], np.searchsorted(old[0], new[0], "left"), np.searchsorted(old[0], new[0], "right")),
        (new[1], np.searchsorted(new[0], new[0], "left"), here),
    )
    for rows, begins, ends in runs:
        counts = ends - begins
        sums = np.concatenate([[0], np.cumsum(counts)])
        for start in range(0, int(sums[-1]), PAIRS_AT_ONCE):
            pair = np.arange(start, min(start + PAIRS_AT_ONCE, int(sums[-1])))
            place = np.searchsorted(sums, pair, "right") - 1
            yield rows[begins[place] + pair - sums[place]].astype(np.int64), new[1][place].astype(np.int64)


def agreeing(signatures: Signatures, first: Rows, second: Rows) -> Rows:
    """(L,) number of equal entries in the signatures of each pair of rows."""
    counts = np.empty(len(first), dtype=np.int64)
    for start in range(0, len(first), PAIRS_AT_ONCE):
        block = slice(start, start + PAIRS_AT_ONCE)
        counts[block] = np.count_nonzero(signatures[first[block]] == signatures[second[block]], axis=1)
    return counts


def least_equal(threshold: float, num_hashes: int) -> int:
    """How many of `num_hashes` entries must be equal for an estimate of at least the threshold."""
    return int(np.ceil(threshold * num_hashes - 1e-9))


def _merged(old_keys: Keys, old_rows: NDArray[np.int32], keys: Keys, rows: Rows) -> tuple[Keys, NDArray[np.int32]]:
    places = np.searchsorted(old_keys, keys, "right")
    return np.insert(old_keys, places, keys), np.insert(old_rows, places, rows.astype(np.int32))
