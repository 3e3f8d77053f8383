"""SMOTE and SMOTE-NC beside imbalanced-learn, on the same draws.

    python benchmarks/curation/smote.py [--rows 100000] [--columns 50] [--nc-rows 100000] [--nc-peer-rows 5000]
                                        [--levels 500] [--share 0.1] [--pairs 5] [--peer-gigabytes 16]
                                        [--peer-minutes 10]

Each run is a process of its own; both sides take turns, after one of each on few rows that is not counted. Two
classes, of which the smaller (`--share` of all rows) grows to the size of the larger. SMOTE gets Gaussian columns, the
hard case for any search of neighbours; SMOTE-NC 5 of these and 20 columns of so many levels each. Both sides end with
arrays of all rows, given and synthetic. imbalanced-learn's SMOTE-NC turns the levels into dense columns, so that it
is compared on fewer rows; then both are run once on all, imbalanced-learn within a limit of memory (of its address
space) and of time, and told to have failed beyond them. `same rows` says whether the synthetic rows are equal bit
for bit. Making the data and importing are not timed; peak memory is that of the whole process.
"""

import argparse
import hashlib
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

SEED = 1
NC_NUMBERS = 5
NC_CATEGORIES = 20


def data(rows: int, columns: int, share: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Gaussian columns, and labels of which a share is 1."""
    rng = np.random.default_rng(0)
    labels = np.zeros(rows, dtype=np.int64)
    labels[rng.permutation(rows)[: int(rows * share)]] = 1
    return rng.normal(size=(rows, columns)) + 0.3 * labels[:, None], labels


def levels_of(rows: int, levels: int) -> NDArray[np.int64]:
    """Columns of categories, some levels far more frequent than others."""
    return np.minimum(np.random.default_rng(2).zipf(1.3, size=(rows, NC_CATEGORIES)), levels) - 1


def with_tamis(features: NDArray[np.float64], labels: NDArray[np.int64], categories: NDArray[np.int64] | None) -> dict:
    """Seconds, and a hash of the synthetic rows."""
    from curation.rebalance.smote import SMOTE
    from curation.rebalance.smote_nc import SMOTENC
    from curation.rebalancer import TrainingRows
    from storage.index import ExampleIndex

    index = ExampleIndex(f"bench:{row:09}" for row in range(len(labels)))
    began = time.perf_counter()
    rows = TrainingRows(
        index=index, features=features, labels=labels, classes=("large", "small"), categories=categories
    )
    made = (SMOTE() if categories is None else SMOTENC())(rows, np.random.default_rng(SEED))
    everything = [np.concatenate([features, made.features]), np.concatenate([labels, made.labels])]
    if categories is not None and made.categories is not None:
        everything.append(np.concatenate([categories, made.categories]))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows": len(made), "hash": fingerprint(made.features, made.categories)}


def with_peer(features: NDArray[np.float64], labels: NDArray[np.int64], categories: NDArray[np.int64] | None) -> dict:
    """The same with imbalanced-learn."""
    from imblearn.over_sampling import SMOTE, SMOTENC

    draws = np.random.RandomState(np.random.PCG64(SEED))
    numbers = features.shape[1]
    if categories is None:
        table, sampler = features, SMOTE(random_state=draws)
    else:
        # Levels are whole numbers, which double precision holds exactly.
        table = np.hstack([features, categories])
        sampler = SMOTENC(list(range(numbers, table.shape[1])), random_state=draws)
    began = time.perf_counter()
    grown, _ = sampler.fit_resample(table, labels)
    seconds = time.perf_counter() - began
    made = grown[len(labels) :]
    levels = None if categories is None else made[:, numbers:].astype(np.int64)
    return {"seconds": seconds, "rows": len(made), "hash": fingerprint(made[:, :numbers], levels)}


def fingerprint(features: NDArray[np.float64], categories: NDArray[np.int64] | None) -> str:
    """Hash of the synthetic rows."""
    digest = hashlib.sha256(np.ascontiguousarray(features).tobytes())
    digest.update(b"" if categories is None else np.ascontiguousarray(categories).tobytes())
    return digest.hexdigest()


class UnfinishedError(Exception):
    """A child process ended without an answer."""


def measure(
    side: str,
    case: str,
    rows: int,
    chosen: argparse.Namespace,
    gigabytes: float | None = None,
    seconds: float | None = None,
) -> dict:
    """What a child process measured, and its peak resident memory in MB; within limits where there are any."""
    command = [sys.executable, str(Path(__file__)), "--child", side, "--case", case, "--rows", str(rows)]
    for name in ("columns", "levels", "share"):
        command += [f"--{name}", str(getattr(chosen, name))]
    command += [] if gigabytes is None else ["--limit", str(gigabytes)]
    errors = None if gigabytes is None else subprocess.PIPE
    paths = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=paths, text=True) as process:
        try:
            answer, told = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise UnfinishedError(f"did not finish within {seconds:.0f} s") from None
    if process.returncode:
        last = told.strip().splitlines()[-1] if told else f"ended with {process.returncode}"
        raise UnfinishedError(last)
    return json.loads(answer)


def child(chosen: argparse.Namespace) -> None:
    """Run one side, and print what it measured."""
    if chosen.limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (int(chosen.limit * 1e9),) * 2)
    run = with_tamis if chosen.child == "tamis" else with_peer
    if chosen.case == "smote":
        found = run(*data(chosen.rows, chosen.columns, chosen.share), None)
    else:
        features, labels = data(chosen.rows, NC_NUMBERS, chosen.share)
        found = run(features, labels, levels_of(chosen.rows, chosen.levels))
    print(json.dumps({**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def spread(values: list[float]) -> str:
    """Least, middle and greatest value."""
    return f"min {min(values):8.2f}  median {statistics.median(values):8.2f}  max {max(values):8.2f}"


def compare(case: str, rows: int, chosen: argparse.Namespace) -> None:
    """Print times of both sides, their ratio, whether they made the same rows, and peak memory."""
    found: dict[str, list[dict]] = {"tamis": [], "imbalanced-learn": []}
    for pair in range(chosen.pairs + 1):
        for side, results in found.items():
            result = measure(side, case, rows if pair else 1000, chosen)
            if pair:
                results.append(result)
    print(f"{case}: {rows:,} rows, {found['tamis'][0]['rows']:,} synthetic, {chosen.pairs} pairs")
    for side, results in found.items():
        peak = max(one["peak"] for one in results)
        print(f"  {side:16} {spread([one['seconds'] for one in results])} s, peak {peak:.0f} MB")
    ours, peer = found.values()
    ratios = [below["seconds"] / above["seconds"] for above, below in zip(ours, peer, strict=True)]
    same = len({one["hash"] for one in ours + peer}) == 1
    print(f"  {'ratio':16} {spread(ratios)}, same rows: {'yes' if same else 'no'}")


def main() -> None:
    """Compare both methods, then run SMOTE-NC alone on all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--nc-rows", type=int, default=100_000)
    parser.add_argument("--nc-peer-rows", type=int, default=5000)
    parser.add_argument("--levels", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--peer-gigabytes", type=float, default=16.0, help="for imbalanced-learn's SMOTE-NC on all rows"
    )
    parser.add_argument("--peer-minutes", type=float, default=10.0, help="the same")
    parser.add_argument("--limit", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=("tamis", "imbalanced-learn"), help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=("smote", "smote_nc"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen)
        return
    print(f"{os.cpu_count()} cores")
    compare("smote", chosen.rows, chosen)
    compare("smote_nc", chosen.nc_peer_rows, chosen)
    alone = measure("tamis", "smote_nc", chosen.nc_rows, chosen)
    print(f"smote_nc: {chosen.nc_rows:,} rows, {alone['rows']:,} synthetic, one run")
    print(f"  {'tamis':16} {alone['seconds']:.1f} s, peak {alone['peak']:.0f} MB")
    limits = f"(limits {chosen.peer_gigabytes:g} GB and {chosen.peer_minutes:g} minutes)"
    try:
        peer = measure(
            "imbalanced-learn", "smote_nc", chosen.nc_rows, chosen, chosen.peer_gigabytes, 60 * chosen.peer_minutes
        )
        told = f"{peer['seconds']:.1f} s, peak {peer['peak']:.0f} MB"
    except UnfinishedError as error:
        told = f"failed: {error}"
    print(f"  {'imbalanced-learn':16} {told} {limits}")


if __name__ == "__main__":
    main()
