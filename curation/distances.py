"""Distances: squared Euclidean ones of pairs of points, with the same bits wherever they are asked for."""

import numpy as np
from numpy.typing import NDArray


def squared_distances(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """(L,) squared distance of each pair of points, the same bits whatever else is measured with it."""
    distances: NDArray[np.float64] = np.square(first.astype(np.float64) - second.astype(np.float64)).sum(axis=1)
    return distances


def summed_squares(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """The same, rounded otherwise: by which rebalancers tell neighbours that are as good as equally far."""
    apart = first.astype(np.float64)
    apart -= second
    distances: NDArray[np.float64] = np.einsum("ij,ij->i", apart, apart)
    return distances


def check_enough(num_examples: int, num_neighbors: int) -> None:
    """Refuse to look for more neighbours than there are other examples."""
    if num_examples <= num_neighbors:
        raise ValueError(
            f"{num_neighbors} neighbours need more than {num_neighbors} examples, got {num_examples}; ask for fewer"
        )
