"""Benchmark-targeted ranking: from an order of documents to the rows that a classifier learns from.

Mizrahi, Lindbo Larsen, Allardice, Petryk, Gorokhov, Li, Fang, Gardner, Gunter, Dehghan, "Language Models Improve When
Pretraining Data Matches Target Tasks", 2025. https://arxiv.org/abs/2507.12466
"""

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.best_rank import Value, covering_ranks, mean_values
from curation.targets import at_most, check_directed, equally_drawn, parts_of
from storage.values import Signals

Rows = NDArray[np.int64]
Aggregation = Literal["max", "mean_log", "mean_reciprocal"]


class Ranked(NamedTuple):
    """Documents in the order that their ranks for all targets come to."""

    order: Rows
    """(N,) rows, best first."""
    ranks: Rows
    """(N,) rank of each: the best one, one above the cutoff for those beyond it; or 1 to N where means decide."""
    targets: Rows
    """(N,) row of the target that gave the rank; -1 where none did."""


class Drawn(NamedTuple):
    """What is ranked, for what, and how many of the ranked a classifier learns to recognise."""

    documents: Rows
    """(N,) rows of documents in the order of their ids, which breaks ties."""
    targets: Rows
    """(M,) rows of targets, as many of each benchmark."""
    num_first: int
    """In [1, N)."""


def check_ranking(top_share: float, aggregation: Aggregation, max_ranked: int) -> None:
    """Refuse a share that is not in (0, 1), an unknown aggregation, and fewer than two documents."""
    if not 0 < top_share < 1:
        raise ValueError(f"top_share must be in (0, 1), got {top_share}")
    if aggregation not in get_args(Aggregation):
        raise ValueError(f"aggregation must be one of {', '.join(get_args(Aggregation))}, got {aggregation!r}")
    if max_ranked < 2:
        raise ValueError(f"max_ranked must be at least 2, got {max_ranked}")


def num_positive(top_share: float, num_documents: int) -> int:
    """How many documents the top share is: rounded up, and not all of them.

    Raises:
        ValueError: it is all of them.
    """
    number = math.ceil(top_share * num_documents)
    if number >= num_documents:
        raise ValueError(f"top_share {top_share} of {num_documents} documents is all of them; lower it")
    return number


def drawn(signals: Signals, top_share: float, per_benchmark: int | None, max_ranked: int, seed: int) -> Drawn:
    """Documents to rank and targets to rank them for.

    Args:
        signals: must hold `benchmark` (P,), -1 for documents.
        top_share: of the documents that are ranked, in (0, 1).
        per_benchmark: targets of each benchmark; None for as many as the smallest has.
        max_ranked: documents at most, at least 2.
        seed: of both draws, at least 0.

    Raises:
        ValueError: there are no documents or no targets, a benchmark has too few, or the top share is all documents.
    """
    parts = parts_of(signals)
    targets = parts.targets[equally_drawn(parts.benchmarks, per_benchmark, seed)]
    documents = at_most(parts.documents, max_ranked, seed)
    return Drawn(documents, targets, num_positive(top_share, len(documents)))


def ranked_by_embedding(
    embedding: NDArray[np.floating], given: Drawn, ids: pl.Series, aggregation: Aggregation
) -> Ranked:
    """Order what was drawn by the cosines of an embedding.

    Args:
        embedding: (P, D) finite, of all rows.
        given: what was drawn of them.
        ids: (P,) ids of all rows, for messages alone.
        aggregation: as in `ranked`.

    Raises:
        ValueError: the embedding of a target is all 0.
    """
    check_directed(embedding, given.targets, ids)
    return ranked(embedding, given.documents, given.targets, aggregation, given.num_first)


def ranked(
    table: NDArray[np.floating], documents: Rows, targets: Rows, aggregation: Aggregation, num_needed: int
) -> Ranked:
    """Order documents by their ranks for all targets.

    Args:
        table: (P, D) embeddings of documents and targets.
        documents: (N,) rows of the documents, in the order that breaks ties.
        targets: (M,) rows of the targets.
        aggregation: `max` is the best rank, the others are means over targets of log2(1 / rank) and 1 / rank.
        num_needed: documents whose order must be exact, in [1, N]; for means all are.
    """
    if aggregation == "max":
        best = covering_ranks(table, documents, table[targets], num_needed)
        sources = np.where(best.targets >= 0, targets[best.targets], -1)
        return Ranked(documents[best.order], best.ranks[best.order], sources[best.order])
    value: Value = "log" if aggregation == "mean_log" else "reciprocal"
    means = mean_values(table, documents, table[targets], np.full(len(targets), 1 / len(targets)), value)
    order = documents[np.argsort(-means, kind="stable")]
    return Ranked(order, np.arange(1, len(order) + 1), np.full(len(order), -1, dtype=np.int64))


def labelled(order: Rows, num_first: int, seed: int) -> tuple[Rows, NDArray[np.bool_]]:
    """Rows to fit on: the first of an order, and as many of the others drawn at random, as far as there are.

    Args:
        order: (N,) distinct rows, best first.
        num_first: in [1, N).
        seed: of the draw, at least 0.

    Returns:
        (L,) rows in the order given, and (L,) which of them are of the first.
    """
    others = order[num_first:]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(others))[:num_first])
    rows = np.concatenate([order[:num_first], others[drawn]])
    return rows, np.arange(len(rows)) < num_first


def rank_columns(ids: pl.Series, found: Ranked | None) -> dict[str, NDArray[np.generic]]:
    """Columns `rank` (0 where a row was not ranked) and `target` (an id, or empty where none gave the rank).

    Args:
        ids: (P,) ids of all rows.
        found: what was ranked; None for nothing.
    """
    ranks, names = np.zeros(len(ids), dtype=np.int64), np.full(len(ids), "", dtype=object)
    if found is not None:
        ranks[found.order] = found.ranks
        named = found.targets >= 0
        names[found.order[named]] = ids.gather(pl.Series(found.targets[named])).to_numpy()
    return {"rank": ranks, "target": names}
