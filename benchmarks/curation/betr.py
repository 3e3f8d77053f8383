"""Best ranks of documents for targets beside the bare matrix product of their embeddings.

    python benchmarks/curation/betr.py [--documents 100000] [--targets 10000] [--dimensions 384] [--pairs 5]

Each run is a process of its own, with the same single-precision vectors; both sides take turns in being first, after
one of each on few rows that is not counted. The product is formed in blocks of the same size as ours and of whole rows,
and the faster of the two is what the ratio is taken of; nothing is done with what it gives. Ours finds every
document's best rank up to the cutoff at which the lists cover a tenth of the documents, with normalising and exact
measuring. `clustered` draws documents and targets around common centres, so that lists overlap and the cutoff is
higher. Making the vectors and importing are not timed; peak memory is that of the whole process, in which the vectors
take 4 bytes a number.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation import best_rank
from curation.best_rank import BestRanks, covering_ranks

Vectors = NDArray[np.float32]
SIDES = ("product", "ranks")


def vectors(num_documents: int, num_targets: int, num_dimensions: int, *, clustered: bool) -> tuple[Vectors, Vectors]:
    """Random documents and targets of about length 1."""
    rng = np.random.default_rng(0)
    found = [rng.standard_normal((rows, num_dimensions), dtype=np.float32) for rows in (num_documents, num_targets)]
    if clustered:
        centres = rng.standard_normal((200, num_dimensions), dtype=np.float32)
        for rows in found:
            for row, centre in enumerate(rng.integers(200, size=len(rows))):
                rows[row] += centres[centre]
    for rows in found:
        rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
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


def run(side: str, sizes: tuple[int, int, int], kind: str) -> None:
    """One run in this process, told as a line of JSON."""
    documents, targets = vectors(*sizes, clustered=kind == "clustered")
    blocks = (best_rank.TARGETS_AT_ONCE, best_rank.DOCUMENTS_AT_ONCE)
    few = documents[:1000], targets[:100]
    told: dict[str, float] = {}
    if side == "product":
        product(*few, *blocks)
        told["seconds"] = min(product(documents, targets, *blocks), product(documents, targets, 64, len(documents)))
    else:
        ranks(*few)
        told["seconds"], found = ranks(documents, targets)
        told |= {"cutoff": found.cutoff, "ranked": found.num_ranked}
    told["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(told))


def elsewhere(side: str, sizes: tuple[int, int, int], kind: str) -> dict[str, float]:
    """What a run in a process of its own tells."""
    command = [sys.executable, __file__, "--run", side, kind, *(str(size) for size in sizes)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    told: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, env=environment).stdout
    )
    return told


def spread(values: list[float], unit: str) -> str:
    """Least, middle and greatest value."""
    return f"min {min(values):7.2f}  median {statistics.median(values):7.2f}  max {max(values):7.2f} {unit}"


def measure(sizes: tuple[int, int, int], num_pairs: int, kind: str) -> None:
    """Print times, their ratio, memory and the cutoff."""
    told: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for pair in range(num_pairs):
        for side in SIDES if pair % 2 == 0 else reversed(SIDES):
            told[side].append(elsewhere(side, sizes, kind))
    last = told["ranks"][-1]
    print(f"{kind}: cutoff {last['cutoff']:.0f}, {last['ranked']:,.0f} documents in a list")
    for side, runs in told.items():
        print(f"  {side:<8} {spread([one['seconds'] for one in runs], 's')}")
        print(f"  {'':<8} {spread([one['megabytes'] for one in runs], 'MB')}")
    ratios = [ours["seconds"] / bare["seconds"] for bare, ours in zip(told["product"], told["ranks"], strict=True)]
    print(f"  ratio    {spread(ratios, '')}")


def main() -> None:
    """Measure both kinds of vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        side, kind, *numbers = chosen.run
        run(side, (int(numbers[0]), int(numbers[1]), int(numbers[2])), kind)
        return
    sizes = (chosen.documents, chosen.targets, chosen.dimensions)
    print(
        f"{chosen.documents:,} documents, {chosen.targets:,} targets, {chosen.dimensions} dimensions, "
        f"{chosen.pairs} pairs, {os.cpu_count()} cores"
    )
    for kind in ("random", "clustered"):
        measure(sizes, chosen.pairs, kind)


if __name__ == "__main__":
    main()
