"""Targets: examples of benchmarks among the rows of a pool, which say what documents to look for.

Signal `benchmark` (N,) tells them apart: -1 for a document of the pool, else the benchmark whose example the row is.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.ranks import by_id
from storage.values import Signals

Rows = NDArray[np.int64]


class Parts(NamedTuple):
    """Rows of documents and of targets, each in the order of their ids."""

    documents: Rows
    targets: Rows
    benchmarks: Rows
    """The benchmark of each target, at least 0."""


def parts_of(signals: Signals) -> Parts:
    """Which rows are documents and which are targets.

    Raises:
        ValueError: one of the two does not occur.
    """
    benchmark = np.asarray(signals["benchmark"])
    if benchmark.shape != (len(signals),) or not np.issubdtype(benchmark.dtype, np.integer):
        raise ValueError(f"signal 'benchmark' must be (N,) of integers, got {benchmark.shape} of {benchmark.dtype}")
    order = by_id(signals.index.ids)
    documents, targets = order[benchmark[order] < 0], order[benchmark[order] >= 0]
    if not len(documents) or not len(targets):
        raise ValueError(f"there are {len(documents)} documents and {len(targets)} targets; both are needed")
    return Parts(documents, targets, benchmark[targets].astype(np.int64))


def check_drawing(per_benchmark: int | None, seed: int) -> None:
    """Refuse a number of targets per benchmark below 1, and a negative seed."""
    if per_benchmark is not None and per_benchmark < 1:
        raise ValueError(f"per_benchmark must be at least 1, got {per_benchmark}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")


def equally_drawn(benchmarks: Rows, per_benchmark: int | None, seed: int) -> Rows:
    """Targets of which every benchmark has the same number, so that none weighs more.

    Args:
        benchmarks: (M,) benchmark of each target.
        per_benchmark: targets of each benchmark; None for as many as the smallest has.
        seed: of the draw, at least 0.

    Returns:
        Rows of targets, ascending.

    Raises:
        ValueError: a benchmark has fewer targets.
    """
    kinds, counts = np.unique(benchmarks, return_counts=True)
    wanted = int(counts.min()) if per_benchmark is None else per_benchmark
    if wanted > counts.min():
        raise ValueError(f"per_benchmark is {wanted}, but the smallest benchmark has {counts.min()} targets; lower it")
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(benchmarks == kind))[:wanted] for kind in kinds]
    return np.sort(np.concatenate(drawn))


def at_most(rows: Rows, most: int, seed: int) -> Rows:
    """The rows, or so many of them drawn by the seed, in the same order."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])]


def check_directed(embedding: NDArray[np.floating], targets: Rows, ids: pl.Series) -> None:
    """Refuse targets whose embedding is all 0, to which nothing is near.

    Raises:
        ValueError: there are such; the message counts them and names the first.
    """
    empty = targets[~embedding[targets].any(axis=1)]
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(targets)} targets have an embedding of zeros (first: {ids[int(empty[0])]!r}), as of "
            "texts without words; leave them out of the targets"
        )
