"""Near duplicates: texts that share most of their shingles with an earlier one, found by MinHash and banding.

Broder, "On the resemblance and containment of documents", SEQUENCES 1997,
https://doi.org/10.1109/SEQUEN.1997.666900; bands as in `curation/signature_index.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curation.clusters import check_alarm_share, keeper_scores
from curation.scorer import Merge, MergingScorer, joined_index, parted
from curation.signature_index import Bands, SignatureIndex, Signatures, agreeing, bands_for
from storage.index import ExampleIndex
from storage.values import Array, HighMeans, Scores, Signals


@dataclass(frozen=True, kw_only=True)
class NearDuplicates(MergingScorer):
    """Score 1 where a row belongs to the cluster of an earlier one, in the order of the data set, else 0.

    Reads `minhash` (N, P). Two rows are linked where a band of their signatures agrees and their estimated Jaccard
    similarity reaches the threshold; a cluster is what links connect, so its ends may be less alike. Columns: `keeper`,
    the id of the cluster's first row, and `similarity` to it, in [0, 1]. Further rows change earlier ones where they
    link two clusters. State are all signatures and the sorted keys of their bands: 4 P + 12 (b + 1) + 8 bytes a row.
    """

    reads: ClassVar[tuple[str, ...]] = ("minhash",)
    high_means: ClassVar[HighMeans] = "suspect"

    threshold: float = 0.8
    """Smallest estimated Jaccard similarity of two linked texts, in (0, 1]."""
    recall: float = 0.95
    """Probability, in (0, 1), with which a pair right at the threshold is compared at all; alike ones are surer."""
    alarm_share: float = 0.5
    """Largest plausible share of duplicates, in (0, 1]; above it scoring fails with a message."""

    def __post_init__(self) -> None:
        check_alarm_share(self.alarm_share)
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        if not 0 < self.recall < 1:
            raise ValueError(f"recall must be in (0, 1), got {self.recall}")

    def bands(self, num_hashes: int) -> Bands:
        """How signatures of this length are cut."""
        return bands_for(num_hashes, self.threshold, self.recall)

    def start(self, signals: Signals) -> Merge:
        """Compare all rows with each other."""
        signatures = _checked(signals)
        bands = self.bands(signatures.shape[1])
        found = SignatureIndex.empty(signatures.shape[1], bands).extended(signatures, bands, self.threshold)
        return Merge(state=found.arrays, new=self._scores(found, signals.index))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Compare the new rows with the old ones and with each other."""
        signatures, known = _checked(signals), SignatureIndex.from_arrays(state)
        if signatures.shape[1] != known.signatures.shape[1]:
            raise ValueError(
                f"signal 'minhash' has {signatures.shape[1]} hashes, but earlier rows have {known.signatures.shape[1]}"
            )
        found = known.extended(signatures, self.bands(signatures.shape[1]), self.threshold)
        return parted(earlier, self._scores(found, joined_index(earlier.index, signals.index)), found.arrays)

    def _scores(self, found: SignatureIndex, index: ExampleIndex) -> Scores:
        away = np.flatnonzero(found.keepers != np.arange(len(index)))
        similarity = np.ones(len(index))
        similarity[away] = agreeing(found.signatures, found.keepers[away], away) / found.signatures.shape[1]
        remedy = "look at the texts, ask for longer shingles, or raise the threshold"
        return keeper_scores(index, found.keepers, similarity, self.alarm_share, remedy)


def _checked(signals: Signals) -> Signatures:
    signatures = signals["minhash"]
    if signatures.dtype != np.uint32 or signatures.ndim != 2:
        raise ValueError(f"signal 'minhash' must be (N, P) of uint32, got {signatures.shape} of {signatures.dtype}")
    return signatures
