"""Neighbourhood labels: how many of a row's nearest rows are of another class, and what that says of it."""

import numpy as np
from numpy.typing import NDArray

from curation.nearest_rows import nearest_rows
from curation.rebalancer import Positions, TrainingRows


def num_others(rows: TrainingRows, asked: Positions, num_neighbors: int) -> NDArray[np.int64]:
    """(Q,) how many of the nearest of all rows have another label than the row itself."""
    place = np.empty(len(rows), dtype=np.int64)
    place[rows.order] = np.arange(len(rows))
    found = rows.order[nearest_rows(rows.features[rows.order], place[asked], num_neighbors)]
    others: NDArray[np.int64] = (rows.labels[found] != rows.labels[asked][:, None]).sum(axis=1)
    return others


def in_danger(num_other: NDArray[np.int64], num_neighbors: int) -> NDArray[np.bool_]:
    """(Q,) whether at least half of the neighbours, but not all, are of other classes."""
    return (num_other >= num_neighbors / 2) & (num_other < num_neighbors)


def is_noise(num_other: NDArray[np.int64], num_neighbors: int) -> NDArray[np.bool_]:
    """(Q,) whether all neighbours are of other classes."""
    noise: NDArray[np.bool_] = num_other == num_neighbors
    return noise
