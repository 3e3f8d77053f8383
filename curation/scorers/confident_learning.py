"""Confident learning: labels that a model which never saw the example contradicts, and how many there are.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
70, 2021. https://arxiv.org/abs/1911.00068 The joint is in `curation/confident_joint.py`, the
rules that flag are in `curation/label_filters.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.confident_joint import row_blocks, self_confidence
from curation.label_filters import LABEL_FILTERS, Evidence, LabelFilter, label_issues
from curation.ranks import id_ranks
from curation.scorer import Merge, MergingScorer, check_finite, given_labels, joined_index, mean_over_seeds, parted
from storage.index import ExampleIndex
from storage.values import Array, HighMeans, Scores, Signals

Quality = Literal["self_confidence", "normalized_margin"]

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from 1 in sum: what single precision loses over 1,000 classes."""


@dataclass(frozen=True, kw_only=True)
class ConfidentLearning(MergingScorer):
    """Rank examples by what out-of-fold probabilities leave to their label, averaged over seeds.

    Signal `oof_probs` is (N, K), or (R, N, T, K) of which the last entry of T is read; several
    seeds are averaged first. Columns: `flagged` (by the filter), `suggested_label` (the most
    probable class where flagged, else the given label) and `confidence` (its probability).

    Further rows move the thresholds and the joint of all, and with them which earlier ones are flagged: what they
    bring is merged by reckoning flags anew from all probabilities, which are the state.

    Differs from cleanlab: ties at a filter's cut go to the smaller ids, and equal remainders in
    rounding the joint to the class named in `rounded_to_sum`; there both follow an unstable sort.
    """

    reads: ClassVar[tuple[str, ...]] = ("oof_probs", "label")
    high_means: ClassVar[HighMeans] = "clean"

    quality: Quality = "self_confidence"
    """`self_confidence`: probability of the label; `normalized_margin`: (that - the largest other + 1) / 2."""
    filter: LabelFilter = "prune_by_noise_rate"
    """Rule that flags, by its name in cleanlab, whose default this is."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("quality", self.quality, get_args(Quality)),
            ("filter", self.filter, LABEL_FILTERS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")

    def start(self, signals: Signals) -> Merge:
        """Quality in [0, 1] as mean over seeds, and flags from all rows."""
        of_seeds, labels = _evidence(signals)
        return Merge(state={"oof_probs": of_seeds, "label": labels}, new=self._scores(signals.index, of_seeds, labels))

    def extend(self, state: Mapping[str, Array], earlier: Scores, signals: Signals) -> Merge:
        """Qualities of the new rows, and flags of all."""
        added, new_labels = _evidence(signals)
        known = state["oof_probs"]
        if added.shape[::2] != known.shape[::2]:
            raise ValueError(
                f"signal 'oof_probs' has {added.shape[0]} seeds and {added.shape[2]} classes, but earlier rows have "
                f"{known.shape[0]} and {known.shape[2]}"
            )
        of_seeds = np.concatenate([known, added], axis=1)
        labels = np.concatenate([state["label"], new_labels])
        whole = self._scores(joined_index(earlier.index, signals.index), of_seeds, labels)
        return parted(earlier, whole, {"oof_probs": of_seeds, "label": labels})

    def _scores(self, index: ExampleIndex, of_seeds: NDArray[np.floating], labels: NDArray[np.int64]) -> Scores:
        probs = of_seeds[0] if len(of_seeds) == 1 else of_seeds.mean(axis=0, dtype=np.float64)
        evidence = Evidence(probs=probs, labels=labels, id_ranks=id_ranks(index.ids))
        flagged = label_issues(evidence, self.filter)
        suggested = np.where(flagged, evidence.predicted, labels)
        columns = {
            "flagged": flagged,
            "suggested_label": suggested,
            "confidence": self_confidence(probs, suggested),
        }
        qualities = [self_confidence(of_seed, labels) for of_seed in of_seeds]
        if self.quality == "normalized_margin":
            # With the rival fixed, the mean over seeds of the margins is the margin of the mean.
            rivals = [self_confidence(of_seed, evidence.rivals) for of_seed in of_seeds]
            qualities = [(own - rival + 1) / 2 for own, rival in zip(qualities, rivals, strict=True)]
        return mean_over_seeds(index, qualities, high_means=self.high_means, columns=columns)


def _evidence(signals: Signals) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """(R, N, K) out-of-fold probabilities and (N,) given labels, checked."""
    given = signals["oof_probs"]
    of_seeds = signals.at_epoch("oof_probs", None) if "oof_probs" in signals.epochs else given[None]
    if of_seeds.ndim != 3 or of_seeds.shape[-1] < 2:
        raise ValueError(f"signal 'oof_probs' must be (N, K) or (R, N, T, K) with K at least 2, got {given.shape}")
    check_finite(signals.index, "oof_probs", of_seeds)
    for of_seed in of_seeds:
        _check_probs(signals.index, of_seed)
    return of_seeds, given_labels(signals, of_seeds.shape[-1])


def _check_probs(index: ExampleIndex, probs: NDArray[np.floating]) -> None:
    for rows in row_blocks(*probs.shape):
        block = probs[rows]
        sums = block.sum(axis=1, dtype=np.float64)
        bad = np.flatnonzero((np.abs(sums - 1) > SUM_TOLERANCE) | (block.min(axis=1) < 0))
        if len(bad):
            first = int(bad[0])
            raise ValueError(
                f"signal 'oof_probs' must hold probabilities, at least 0 and 1 in sum, but those of "
                f"{index[rows.start + first]!r} have the minimum {block[first].min():g} and the sum {sums[first]:g}"
            )
