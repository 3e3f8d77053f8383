"""Clusters of duplicates: who is whose keeper, and an alarm when too much would go.

A cluster's keeper is its first row in the order of the data set. Rows that are appended stand behind all others, so
that what was kept stays kept, unless they link two clusters of which one then loses its keeper.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from storage.index import ExampleIndex
from storage.values import Scores

Rows = NDArray[np.int64]


def united(keepers: Rows, first: Rows, second: Rows) -> Rows:
    """Keepers after the clusters of each pair have been made one.

    Args:
        keepers: (N,) each row's keeper, the smallest row of its cluster.
        first: (L,) rows.
        second: (L,) rows; those of a pair belong together.

    Returns:
        (N,) keepers of the united clusters, whatever the order of the pairs.
    """
    if not len(first):
        return keepers
    ends = np.stack([keepers[first], keepers[second]])
    roots, places = np.unique(ends, return_inverse=True)
    places = places.reshape(ends.shape)
    links = coo_array((np.ones(ends.shape[1], dtype=np.int8), (places[0], places[1])), shape=(len(roots),) * 2)
    number, component = connected_components(links, directed=False)
    smallest = np.full(number, len(keepers), dtype=np.int64)
    np.minimum.at(smallest, component, roots)
    renamed = np.arange(len(keepers))
    renamed[roots] = smallest[component]
    united_keepers: Rows = renamed[keepers]
    return united_keepers


def check_alarm_share(alarm_share: float) -> None:
    """Refuse a share outside (0, 1]."""
    if not 0 < alarm_share <= 1:
        raise ValueError(f"alarm_share must be in (0, 1], got {alarm_share}")


def check_plausible(num_duplicates: int, num_examples: int, alarm_share: float, remedy: str) -> None:
    """Refuse to call more rows duplicates than is plausible.

    Args:
        num_duplicates: rows that are not their cluster's keeper.
        num_examples: all rows.
        alarm_share: the largest plausible share.
        remedy: what to look at, for the message.

    Raises:
        ValueError: the share is above `alarm_share`.
    """
    share = num_duplicates / max(1, num_examples)
    if share > alarm_share:
        raise ValueError(
            f"{num_duplicates} of {num_examples} examples ({share:.1%}) would count as duplicates, more than "
            f"alarm_share = {alarm_share:.1%} allows; {remedy}, or raise alarm_share if that is what the data are like"
        )


def keeper_scores(
    index: ExampleIndex, keepers: Rows, similarity: NDArray[np.float64], alarm_share: float, remedy: str
) -> Scores:
    """Scores of clusters: 1 where a row is not its own keeper, else 0, beside columns `keeper` and `similarity`.

    Args:
        index: N examples.
        keepers: (N,) each row's keeper.
        similarity: (N,) how alike each row is to its keeper.
        alarm_share: the largest plausible share of rows that are not their own keeper.
        remedy: what to look at where there are more, for the message.

    Raises:
        ValueError: more rows than plausible are not their own keeper.
    """
    away = keepers != np.arange(len(index))
    check_plausible(int(away.sum()), len(index), alarm_share, remedy)
    return Scores(
        index=index,
        values=away.astype(np.float64),
        high_means="suspect",
        columns={"keeper": index.ids.gather(pl.Series(keepers)).to_numpy(), "similarity": similarity},
    )
