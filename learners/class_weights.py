"""Class weights: weights by which rare classes count as much as frequent ones.

`balanced`: an example weighs one over the weight of its class.
`effective_number`: Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples",
CVPR 2019, equation 7. https://arxiv.org/abs/1901.05555

Differs from the paper: factors are scaled so that the total weight of the examples stays what it was, where the paper
lets the factors of the classes add up to K; and the number of a class is the sum of its examples' own weights.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

ClassWeighting = Literal["none", "balanced", "effective_number"]

BETA = 0.999
"""Of `effective_number` where none is set: between the paper's values for long-tailed CIFAR (0.99 to 0.9999)."""


def class_factors(
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    num_classes: int,
    rule: ClassWeighting,
    beta: float = BETA,
) -> NDArray[np.float64]:
    """What the weight of an example is multiplied by for its class.

    Args:
        labels: (N,) given classes in [0, K).
        weights: (N,) the examples' own weights, at least 0.
        num_classes: K.
        rule: how classes are weighted.
        beta: of `effective_number`, in [0, 1); 0 leaves weights as they are.

    Returns:
        (K,) factors above 0, under which the weights' sum stays the same; 1 for a class without weight.
    """
    factors = np.ones(num_classes)
    mass = np.bincount(labels, weights=weights.astype(np.float64), minlength=num_classes)
    present = mass > 0
    if rule == "none" or not present.any():
        return factors
    sizes = mass[present]
    effective = sizes if rule == "balanced" else -np.expm1(sizes * np.log(beta)) / (1 - beta) if beta else sizes**0
    raw = 1 / effective
    factors[present] = raw * sizes.sum() / (raw * sizes).sum()
    return factors
