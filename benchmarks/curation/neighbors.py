"""Nearest neighbours of embeddings, all pairs beside usearch's graph, each anew and with new rows alone.

    python benchmarks/curation/neighbors.py [--rows 100000] [--new 10000] [--dimensions 64] [--neighbors 10] [--pairs 3]

Each run is a process of its own, taking turns: `knn_distance` of all rows by `exact` and by `approximate`, then of the
new rows alone, from what was stored with the scores of the others, which is not timed. Points are drawn around 1,000
centres. The last share is of rows, of 1,000 drawn, whose mean distance is that of their true nearest.
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

SIDES = ("exact", "approximate", "exact, grown", "approximate, grown")


def clouds(num_points: int, num_dimensions: int) -> NDArray[np.float32]:
    """Points around 1,000 centres."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(1000, num_dimensions)).astype(np.float32)
    noise = rng.normal(scale=0.5, size=(num_points, num_dimensions)).astype(np.float32)
    return centers[rng.integers(1000, size=num_points)] + noise


def child(side: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Seconds of one side, its peak memory in MB, and the share of rows that it has right."""
    from curation.scorers.knn_distance import KNNDistance
    from storage.index import ExampleIndex
    from storage.values import Signals

    total = chosen.rows + chosen.new
    points = clouds(total, chosen.dimensions)
    index = ExampleIndex(f"bench:{row}" for row in range(total))
    rows = Signals(index=index, arrays={"embedding": points})
    search, _, grown = side.partition(", ")
    scorer = KNNDistance(num_neighbors=chosen.neighbors, search="exact" if search == "exact" else "approximate")
    before = scorer.start(rows.take(np.arange(chosen.rows))) if grown else None
    began = time.perf_counter()
    if before is None:
        values = scorer.start(rows).new.values
    else:
        further = scorer.extend(before.state, before.new, rows.take(np.arange(chosen.rows, total)))
        values = further.over(before.new).values
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak, "right": right(points, values, chosen.neighbors)}


def right(points: NDArray[np.float32], values: NDArray[np.float64], num_neighbors: int) -> float:
    """Share of rows, of 1,000 drawn, whose mean distance is that of all their nearest."""
    found = []
    for row in np.random.default_rng(1).integers(len(points), size=1000):
        distances = np.linalg.norm(points.astype(np.float64) - points[row], axis=1)
        nearest = np.partition(distances, num_neighbors)[: num_neighbors + 1]
        found.append(bool(np.isclose(values[row], nearest.sum() / num_neighbors, rtol=1e-6)))
    return float(np.mean(found))


def main() -> None:
    """Print seconds, ratios, shares of right rows and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--new", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--neighbors", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(child(chosen.child, chosen)))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(chosen.pairs):
        for side in SIDES:
            command = [sys.executable, str(Path(__file__)), *sys.argv[1:], "--child", side]
            environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            found[side].append(json.loads(told.stdout))
    print(f"{chosen.rows:,} rows and {chosen.new:,} new ones x {chosen.dimensions}, {os.cpu_count()} cores")
    for side, results in found.items():
        right, peak = results[0]["right"], max(one["peak"] for one in results)
        print(f"{side:18} {spread([one['seconds'] for one in results])} s, {right:.3f} right, peak {peak:.0f} MB")
    for above, below in (("approximate", "exact"), ("exact", "exact, grown"), ("approximate", "approximate, grown")):
        ratios = [one["seconds"] / other["seconds"] for one, other in zip(found[above], found[below], strict=True)]
        print(f"{above} / {below:18} {spread(ratios)}")


def spread(values: list[float]) -> str:
    """Least, middle and greatest value."""
    return f"min {min(values):8.2f}  median {statistics.median(values):8.2f}  max {max(values):8.2f}"


if __name__ == "__main__":
    main()
