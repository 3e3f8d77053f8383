"""Confident learning beside cleanlab, on the same probabilities.

    python benchmarks/curation/confident_learning.py [--rows 1000000] [--classes 10] [--wide-rows 200000]
                                                     [--wide-classes 1000] [--pairs 5]

Needs cleanlab, which is no dependency: `pip install cleanlab`. Without it tamis runs alone, and that is said.

Each run is a process of its own; the sides take turns, after one of each on few rows that is not counted. A tenth of
the labels is drawn anew; probabilities are of single precision. `exact` is cleanlab's `find_label_issues` with
`prune_by_noise_rate` and its own choice of processes; `batched` is its `find_label_issues_batched`, which flags by an
approximate rule. `same rows` says whether tamis and `exact` flag the same. A ratio is the peer's time over ours. The
wide case is run by tamis alone, as the scorer does it, ids and checks included. Making the data and importing are
not timed; peak memory is that of the whole process with its children's largest.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RULE = "prune_by_noise_rate"
BLOCK_ROWS = 10_000


def data(rows: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities that favour the clean class, and labels of which a tenth is drawn anew."""
    rng = np.random.default_rng(0)
    clean = rng.integers(classes, size=rows)
    labels = np.where(rng.random(rows) < 0.1, rng.integers(classes, size=rows), clean)
    probs = np.empty((rows, classes), dtype=np.float32)
    for first in range(0, rows, BLOCK_ROWS):
        block = rng.normal(scale=1.5, size=(min(BLOCK_ROWS, rows - first), classes)).astype(np.float32)
        block[np.arange(len(block)), clean[first : first + len(block)]] += 3.0 + np.log(classes / 10)
        odds = np.exp(block)
        probs[first : first + len(block)] = odds / odds.sum(axis=1, keepdims=True)
    return probs, labels


def with_tamis(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
    """Seconds, and the rows flagged."""
    from curation.label_filters import Evidence, label_issues

    began = time.perf_counter()
    flagged = label_issues(Evidence(probs=probs, labels=labels, id_ranks=np.arange(len(labels))), RULE)
    return time.perf_counter() - began, np.flatnonzero(flagged)


def with_scorer(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
    """The same by the scorer."""
    from curation.scorers.confident_learning import ConfidentLearning
    from storage.index import ExampleIndex
    from storage.values import Signals

    index = ExampleIndex(f"bench:{row:09}" for row in range(len(labels)))
    signals = Signals(index=index, arrays={"oof_probs": probs, "label": labels})
    began = time.perf_counter()
    scores = ConfidentLearning(filter=RULE)(signals)
    return time.perf_counter() - began, np.flatnonzero(scores.columns["flagged"])


def with_exact(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
    """The same with cleanlab, exactly."""
    from cleanlab.filter import find_label_issues

    began = time.perf_counter()
    flagged = find_label_issues(labels, probs, filter_by=RULE)
    return time.perf_counter() - began, np.flatnonzero(flagged)


def with_batched(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
    """What cleanlab flags batch by batch."""
    from cleanlab.experimental.label_issues_batched import find_label_issues_batched

    began = time.perf_counter()
    flagged = find_label_issues_batched(labels=labels, pred_probs=probs, verbose=False)
    return time.perf_counter() - began, np.sort(flagged)


SIDES = {"tamis": with_tamis, "exact": with_exact, "batched": with_batched, "scorer": with_scorer}


def measure(side: str, rows: int, classes: int) -> dict:
    """What a child process measured, and its peak resident memory in MB."""
    command = [sys.executable, str(Path(__file__)), "--child", side, "--rows", str(rows), "--classes", str(classes)]
    paths = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{side} ended with {process.returncode}")
    return {**json.loads(answer.splitlines()[-1]), "peak": usage.ru_maxrss / 1024}


def child(chosen: argparse.Namespace) -> None:
    """Run one side, and print what it measured."""
    seconds, flagged = SIDES[chosen.child](*data(chosen.rows, chosen.classes))
    digest = hashlib.sha256(flagged.astype("<i8").tobytes()).hexdigest()
    print(json.dumps({"seconds": seconds, "flagged": len(flagged), "hash": digest}))


def spread(values: list[float]) -> str:
    """Least, middle and greatest value."""
    return f"min {min(values):7.2f}  median {statistics.median(values):7.2f}  max {max(values):7.2f}"


def main() -> None:
    """Compare the sides, then run the wide case alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--wide-rows", type=int, default=200_000)
    parser.add_argument("--wide-classes", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--child", choices=tuple(SIDES), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen)
        return
    print(f"{os.cpu_count()} cores")
    has_peer = importlib.util.find_spec("cleanlab") is not None
    if not has_peer:
        print("cleanlab is not installed, so there is nothing to compare with: pip install cleanlab")
    found: dict[str, list[dict]] = {side: [] for side in (("tamis", "exact", "batched") if has_peer else ("tamis",))}
    for pair in range(chosen.pairs + 1):
        for side, results in found.items():
            result = measure(side, chosen.rows if pair else 2000, chosen.classes)
            if pair:
                results.append(result)
    print(f"{chosen.rows:,} rows x {chosen.classes} classes, {chosen.pairs} runs of each side")
    for side, results in found.items():
        peak = max(one["peak"] for one in results)
        seconds = spread([one["seconds"] for one in results])
        print(f"  {side:8} {seconds} s, {results[0]['flagged']:,} flagged, peak {peak:.0f} MB")
    for side in list(found)[1:]:
        pairs = zip(found["tamis"], found[side], strict=True)
        print(f"  ratio    {spread([peer['seconds'] / ours['seconds'] for ours, peer in pairs])} of {side}")
    if has_peer:
        same = len({one["hash"] for side in ("tamis", "exact") for one in found[side]}) == 1
        print(f"  same rows as exact: {'yes' if same else 'no'}")
    wide = measure("scorer", chosen.wide_rows, chosen.wide_classes)
    print(
        f"{chosen.wide_rows:,} rows x {chosen.wide_classes} classes, the scorer alone: {wide['seconds']:.1f} s, "
        f"{wide['flagged']:,} flagged, peak {wide['peak']:.0f} MB"
    )


if __name__ == "__main__":
    main()
