"""Cleaning: rows of a rebalanced set, given or synthetic, that imbalanced-learn's rules for noisy rows take out."""

import numpy as np
from numpy.typing import NDArray

from curation.packages import check_imbalanced_learn
from curation.rebalancer import Rebalanced, TrainingRows


def without_contradicted(rows: TrainingRows, made: Rebalanced, num_neighbors: int) -> Rebalanced:
    """What is left when each row goes that has another class among its nearest (edited nearest neighbours).

    Raises:
        MissingPackageError: imbalanced-learn is not installed.
    """
    check_imbalanced_learn("smote_enn")
    from imblearn.under_sampling import EditedNearestNeighbours

    rule = EditedNearestNeighbours(sampling_strategy="all", n_neighbors=num_neighbors, kind_sel="all")
    rule.fit_resample(*_together(rows, made))
    return _left(rows, made, rule.sample_indices_)


def without_links(rows: TrainingRows, made: Rebalanced) -> Rebalanced:
    """What is left when both rows go of each pair of different classes that are each other's nearest (Tomek links).

    Raises:
        MissingPackageError: imbalanced-learn is not installed.
    """
    check_imbalanced_learn("smote_tomek")
    from imblearn.under_sampling import TomekLinks

    rule = TomekLinks(sampling_strategy="all")
    rule.fit_resample(*_together(rows, made))
    return _left(rows, made, rule.sample_indices_)


def _together(rows: TrainingRows, made: Rebalanced) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """The given rows in the order of their ids, then the synthetic ones."""
    features = np.concatenate([rows.features[rows.order], made.features])
    return features, np.concatenate([rows.labels[rows.order], made.labels])


def _left(rows: TrainingRows, made: Rebalanced, places: NDArray[np.int64]) -> Rebalanced:
    kept = np.zeros(len(rows), dtype=np.bool_)
    kept[rows.order[places[places < len(rows)]]] = True
    return made.take(kept, np.sort(places[places >= len(rows)]) - len(rows))
