"""Soft labels: an example whose label is a distribution is trained on with labels drawn from it.

At each visit the label is one class, drawn from the example's distribution q by the seed, the number of the pass and
the example's position alone. So every learner trains on such examples as it is, and a resumed run, other batches or
another number of processes draw the same.

Why this trains on the soft label: the cross entropy -sum_k y_k log p_k is linear in the label y, and a drawn one-hot
label has the mean q. So over draws the cross entropy and its gradient have the soft label's as their mean:
E[CE(p, y)] = CE(p, q). Passes draw independently of each other, and the weights at a visit follow from earlier
passes and, within this one, from other examples; so the mean is right for whatever weights the visit meets. A loss
that is not linear in the label has sum_k q_k loss(p, k) as its mean. The price is the spread of the draws, which
grows with the entropy of q and is 0 for a distribution with all its mass on one class: such an example keeps its label.
"""

import numpy as np
from numpy.typing import NDArray

from learners.augment import uniform_draws
from learners.randomness import generator


def drawn_labels(
    soft_labels: NDArray[np.float32], positions: NDArray[np.int64], *, seed: int, pass_number: int
) -> NDArray[np.int64]:
    """A class for each position, drawn from its distribution.

    Args:
        soft_labels: (N, K) at least 0, rows that sum to 1.
        positions: (B,) rows in [0, N).
        seed: the run's seed.
        pass_number: which pass over the data this is, counted from 0.

    Returns:
        (B,) classes in [0, K), none of probability 0.
    """
    key = generator(seed, "soft labels", pass_number).integers(2**64, dtype=np.uint64)
    mass = np.cumsum(soft_labels[positions], axis=1, dtype=np.float64)
    places = uniform_draws(int(key), positions)[:, None] * mass[:, -1:]
    labels: NDArray[np.int64] = (mass[:, :-1] <= places).sum(axis=1)
    return labels
