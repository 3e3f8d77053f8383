"""Importance sampling: draw examples in proportion to a score, with the weights that undo the bias.

Sampling by how much an example moves the model, with weights 1 / (N p), leaves the expected
gradient as it is and lowers its variance: Zhao, Zhang, "Stochastic Optimization with Importance
Sampling for Regularized Loss Minimization", ICML 2015, https://arxiv.org/abs/1401.2753 The
mixture with a uniform draw is that of Lu et al., "PA&DA: Jointly Sampling PAth and DAta for
Consistent NAS", CVPR 2023, https://arxiv.org/abs/2302.14772
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.ranks import budget, by_id
from curation.selector import Selector, check_fraction, score_named
from storage.values import Scores, Selection, Signals


def mixed_probabilities(norms: NDArray[np.float64], uniform: float) -> NDArray[np.float64]:
    """A share of uniform chance, the rest in proportion to some norms.

    Args:
        norms: (N,) finite numbers of at least 0, N at least 1; all 0 count as all equal.
        uniform: share of the uniform draw, in [0, 1].

    Returns:
        (N,) probabilities with sum 1.
    """
    total = norms.sum()
    size = len(norms)
    proportional = norms / total if total > 0 else np.full(size, 1 / size)
    return (1 - uniform) * proportional + uniform / size


def inclusion_probabilities(probs: NDArray[np.float64], num_draws: int) -> NDArray[np.float64]:
    """How likely each example is among draws without replacement: in proportion to `probs`, at most 1.

    Args:
        probs: (N,) positive numbers.
        num_draws: M, in [0, N].

    Returns:
        (N,) probabilities with sum M. What exceeds 1 is capped, and the rest raised in proportion.
    """
    certain = np.zeros(len(probs), dtype=np.bool_)
    inclusion = np.ones(len(probs))
    while not certain.all():
        rest = probs[~certain]
        raised = rest / rest.sum() * (num_draws - certain.sum())
        inclusion[~certain] = raised
        above = raised >= 1
        if not above.any():
            break
        inclusion[~certain] = np.minimum(raised, 1.0)
        certain[np.flatnonzero(~certain)[above]] = True
    return inclusion


def systematic_draw(inclusion: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A draw of exactly M examples in which each has its inclusion probability.

    The examples are laid end to end in random order, each as long as its probability; M marks at
    distance 1 from a random start choose those they fall on.

    Args:
        inclusion: (N,) probabilities in [0, 1] with a whole sum M.
        rng: chance.

    Returns:
        (M,) distinct positions.
    """
    # Rounding moves marks by far less than this, so that no two fall on one example.
    sure = inclusion >= 1 - 1e-9
    order = rng.permutation(np.flatnonzero(~sure))
    num_marks = round(float(inclusion[order].sum()))
    ends = np.cumsum(inclusion[order])
    marks = (np.arange(num_marks) + rng.random()) * (ends[-1] / num_marks) if num_marks else np.empty(0)
    places = np.minimum(np.searchsorted(ends, marks, side="right"), len(order) - 1)
    return np.concatenate([np.flatnonzero(sure), order[places]])


@dataclass(frozen=True, kw_only=True)
class ImportanceSampling(Selector):
    """Draw examples without replacement in proportion to a score; weights are M / (N * inclusion probability).

    The mean of weight * loss over the draw has the mean loss over all examples as its expected
    value. Below the cap the weight is 1 / (N p); examples taken for certain weigh M / N.

    Differs from the papers: one draw before training instead of one per step, and without
    replacement, so that the budget is met exactly. PA&DA trains without the weights.
    """

    score: str
    """Name that the recipe gave the score; at least 0, larger where an example moves the model more."""
    fraction: float
    """Share of the examples to draw, in (0, 1]; the budget is fraction * N rounded, halves up."""
    uniform: float = 0.1
    """Share of the uniform draw mixed in, in [0, 1]; no weight exceeds its inverse."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        if not 0 <= self.uniform <= 1:
            raise ValueError(f"uniform must be in [0, 1], got {self.uniform}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The one score that the chances follow."""
        return (self.score,)

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Draw exactly the budget.

        Raises:
            ValueError: a score is negative, or is 0 so that its example could never be drawn.
        """
        order = by_id(signals.index.ids)
        norms = score_named(scores, self.score).values[order]
        num_draws = budget(self.fraction, len(order))
        if not num_draws:
            raise ValueError(f"the selection keeps none of {len(order)} examples; nothing could be trained on it")
        self._check(norms)
        inclusion = inclusion_probabilities(mixed_probabilities(norms, self.uniform), num_draws)
        drawn = systematic_draw(inclusion, rng)
        weights = np.zeros(len(order), dtype=np.float32)
        weights[order[drawn]] = num_draws / (len(order) * inclusion[drawn])
        reasons = np.full(len(order), f"not drawn in proportion to {self.score}", dtype=object)
        reasons[order[drawn]] = f"drawn in proportion to {self.score}"
        return Selection(index=signals.index, weights=weights, reasons=reasons)

    def _check(self, norms: NDArray[np.float64]) -> None:
        if norms.min() < 0:
            raise ValueError(
                f"importance_sampling needs scores of at least 0; {self.score!r} goes down to {norms.min():g}"
            )
        zeros = int((norms == 0).sum())
        if self.uniform == 0 and 0 < zeros < len(norms):
            raise ValueError(
                f"{zeros} of {len(norms)} examples have the score 0 and could never be drawn; set uniform above 0"
            )
