"""Best ranks of documents for targets beside the bare matrix product of their embeddings.

    python benchmarks/curation/betr.py [--documents 100000] [--targets 10000] [--dimensions 384] [--pairs 5]

Both sides work on the same single-precision vectors in this process and take turns, after one of each on few rows that
is not counted. The product is formed in blocks of the same size as ours and of whole rows, and the faster of the two is
what the ratio is taken of; nothing is done with what it gives. Ours finds every document's best rank up to the cutoff
at which the lists cover a tenth of the documents, with normalising and exact measuring. `clustered` draws documents and
targets around common centres, so that lists overlap and the cutoff is higher. Peak memory is that of the process at
the end; vectors take 4 bytes a number.
"""

import argparse
import os
import resource
import statistics
import time

import numpy as np
from numpy.typing import NDArray

from curation import best_rank
from curation.best_rank import BestRanks, covering_ranks

Vectors = NDArray[np.float32]


def vectors(num_documents: int, num_targets: int, num_dimensions: int, *, clustered: bool) -> tuple[Vectors, Vectors]:
    """Random documents and targets of about length 1."""
    rng = np.random.default_rng(0)
    found = [rng.standard_normal((rows, num_dimensions), dtype=np.float32) for rows in (num_documents, num_targets)]
    if clustered:
        centres = rng.standard_normal((200, num_dimensions), dtype=np.float32)
        for rows in found:
            rows += centres[rng.integers(200, size=len(rows))]
    for rows in found:
        rows /= np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return found[0], found[1]


def product(documents: Vectors, targets: Vectors, targets_at_once: int, documents_at_once: int) -> float:
    """Seconds for all products of targets and documents, block by block."""
    began = time.perf_counter()
    for first in range(0, len(documents), documents_at_once):
        block = documents[first : first + documents_at_once].T
        for start in range(0, len(targets), targets_at_once):
            targets[start : start + targets_at_once] @ block
    return time.perf_counter() - began


def ranks(documents: Vectors, targets: Vectors) -> tuple[float, BestRanks]:
    """Seconds for the best ranks, and these."""
    began = time.perf_counter()
    found = covering_ranks(documents, np.arange(len(documents)), targets, len(documents) // 10)
    return time.perf_counter() - began, found


def spread(values: list[float]) -> str:
    """Least, middle and greatest value."""
    return f"min {min(values):7.2f}  median {statistics.median(values):7.2f}  max {max(values):7.2f}"


def measure(documents: Vectors, targets: Vectors, num_pairs: int, name: str) -> None:
    """Print times, their ratio and the cutoff."""
    blocks = (best_rank.TARGETS_AT_ONCE, best_rank.DOCUMENTS_AT_ONCE)
    product(documents[:1000], targets[:100], *blocks)
    ranks(documents[:1000], targets[:100])
    bare, ours = [], []
    for _ in range(num_pairs):
        bare.append(min(product(documents, targets, *blocks), product(documents, targets, 64, len(documents))))
        seconds, found = ranks(documents, targets)
        ours.append(seconds)
    print(f"{name}: cutoff {found.cutoff}, {found.num_ranked:,} documents in a list")
    print(f"  product    {spread(bare)} s")
    print(f"  best ranks {spread(ours)} s")
    print(f"  ratio      {spread([one / other for one, other in zip(ours, bare, strict=True)])}")


def main() -> None:
    """Measure both kinds of vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--pairs", type=int, default=5)
    chosen = parser.parse_args()
    print(
        f"{chosen.documents:,} documents, {chosen.targets:,} targets, {chosen.dimensions} dimensions, "
        f"{chosen.pairs} pairs, {os.cpu_count()} cores"
    )
    for clustered in (False, True):
        documents, targets = vectors(chosen.documents, chosen.targets, chosen.dimensions, clustered=clustered)
        measure(documents, targets, chosen.pairs, "clustered" if clustered else "random")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
