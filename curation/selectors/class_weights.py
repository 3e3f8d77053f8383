"""Class weights: rare classes count for more, without a synthetic row.

Balanced: King, Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9(2), 2001.
https://doi.org/10.1093/oxfordjournals.pan.a004868
Effective number: Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of
Samples", CVPR 2019. https://arxiv.org/abs/1901.05555

Differs from the papers: under both rules the weights of all examples have the mean 1, so that the size of a training
step stays what it was; Cui et al. let the weights of the classes add up to their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curation.selector import Selector
from storage.values import Scores, Selection, Signals

Rule = Literal["balanced", "effective_number"]
"""`balanced`: one over the size of the class. `effective_number`: one over 1 - beta^size, which levels off."""


def balanced_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) N / (K n) for a class of n of the N examples, K classes having any; 0 for a class without examples."""
    return _to_mean_1(np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0), counts)


def effective_number_weights(counts: NDArray[np.int64], beta: float) -> NDArray[np.float64]:
    """(K,) weights in proportion to (1 - beta) / (1 - beta^n); 0 for a class without examples."""
    covered = -np.expm1(counts * np.log(beta)) if beta > 0 else np.minimum(counts, 1).astype(np.float64)
    return _to_mean_1(np.divide(1.0 - beta, covered, out=np.zeros(len(counts)), where=counts > 0), counts)


def _to_mean_1(weights: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = weights * (counts.sum() / (weights * counts).sum())
    return scaled


@dataclass(frozen=True, kw_only=True)
class ClassWeights(Selector):
    """Keep every example and weigh it by how rare its class is."""

    rule: Rule = "balanced"
    """`balanced` or `effective_number`."""
    beta: float | None = None
    """For `effective_number` alone, and needed there: in [0, 1), 0 weighs all alike, towards 1 as `balanced`; 0.9 to
    0.9999 in the paper."""

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, got {self.rule!r}")
        if self.rule == "balanced" and self.beta is not None:
            raise ValueError(f"beta has no effect with rule = 'balanced', got {self.beta}; leave it out")
        if self.rule == "effective_number" and (self.beta is None or not 0 <= self.beta < 1):
            raise ValueError(f"beta must be in [0, 1) with rule = 'effective_number', got {self.beta}")

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Weigh all examples; needs `label`."""
        labels: NDArray[np.int64] = signals["label"]
        counts = np.bincount(labels)
        weights = balanced_weights(counts) if self.beta is None else effective_number_weights(counts, self.beta)
        texts = [f"1 of {count} of its class" for count in counts]
        return Selection(
            index=signals.index,
            weights=weights[labels].astype(np.float32),
            reasons=np.array(texts, dtype=object)[labels],
        )
