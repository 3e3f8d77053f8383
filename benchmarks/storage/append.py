"""Appending 1 % of rows to a scored data set and scoring them, beside reading and scoring all rows anew.

    python benchmarks/storage/append.py [--rows 1000000] [--share 0.01] [--words 60] [--pairs 3]

The rows are texts with a key and a label. Two scores are kept: exact duplicates by the hash of the
normalised text, and a linear classifier on hashed n-grams (of new rows by the model fitted before). Each
side is a process of its own, the two taking turns: one appends the new file to a copy of a store that
has the rest scored, the other reads both files into an empty store. Both run the same recipe to its
report; times include the start of the interpreter.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

_ROWS_AT_A_TIME = 50_000
_VOCABULARY = 20_000
_SAID = ("--name", "docs", "--label", "kind", "--key", "id", "--features", "words", "--text", "words")
_RECIPE: dict[str, Any] = {
    "name": "docs",
    "dataset": "docs",
    "signals": {
        "hashes": {"method": "content_hash", "column": "words", "form": "normalized"},
        "grams": {"method": "hashed_ngrams", "column": "words"},
    },
    "scorers": {
        "twins": {"method": "exact_duplicates", "signals": "hashes"},
        "alike": {"method": "text_classifier", "signals": "grams", "target": 0, "new_rows": "frozen"},
    },
}


def write_files(folder: Path, rows: int, new: int, words: int) -> None:
    """`old.csv` and `new.csv`: texts whose words depend a little on their class, one in fifty a copy."""
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{number:05x}" for number in range(_VOCABULARY)])
    for name, first, last in (("old", 0, rows), ("new", rows, rows + new)):
        with (folder / f"{name}.csv").open("wb") as stream:
            for start in range(first, last, _ROWS_AT_A_TIME):
                count = min(_ROWS_AT_A_TIME, last - start)
                kinds = rng.integers(0, 2, count)
                drawn = (rng.random((count, words)) ** 2 * _VOCABULARY * (1 - 0.1 * kinds[:, None])).astype(np.int64)
                copies = np.flatnonzero(rng.random(count) < 0.02)
                drawn[copies] = drawn[copies // 2]
                texts = [" ".join(row) for row in vocabulary[drawn]]
                frame = pl.DataFrame({"id": np.arange(start, start + count), "words": texts, "kind": kinds})
                frame.write_csv(stream, include_header=start == first)


@contextmanager
def _quiet(steps: int) -> Iterator[Any]:
    from flows.step import show_nothing

    yield show_nothing


def work(root: str, files: list[str], begin: bool) -> None:
    """Read files into a store, the first as a new data set if `begin`, and run the recipe; in a child process."""
    from flows import cli
    from flows.config import parse_recipe
    from flows.curate_and_train import curate_and_train
    from flows.ingest_by_hand import append_location, ingest_location
    from flows.step import show_nothing
    from storage.store import Store

    store = Store.create(root)
    said = cli.ingest.make_context("ingest", ["-", *_SAID]).params
    columns = {name: value for name, value in said.items() if name not in ("location", "name", "append", "root")}
    for place, file in enumerate(files):
        put = ingest_location if begin and place == 0 else append_location
        put(store, file, "docs", columns, _quiet)
    curate_and_train(store, parse_recipe(_RECIPE), show_nothing)


def measure(root: Path, files: list[Path], *, begin: bool) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a child process."""
    told = json.dumps([str(root), [str(file) for file in files], begin])
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    child = subprocess.Popen([sys.executable, str(Path(__file__)), "--child", told], env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{told} ended with {child.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Print times, their ratio and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        work(*json.loads(chosen.child))
        return
    new = round(chosen.rows * chosen.share)
    found: dict[str, list[tuple[float, float]]] = {"append": [], "all anew": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_files(folder, chosen.rows, new, chosen.words)
        old, more = folder / "old.csv", folder / "new.csv"
        measure(folder / "scored", [old], begin=True)
        for _ in range(chosen.pairs):
            for name in found:
                root = folder / "store"
                shutil.rmtree(root, ignore_errors=True)
                if name == "append":
                    shutil.copytree(folder / "scored", root)
                    found[name].append(measure(root, [more], begin=False))
                else:
                    found[name].append(measure(root, [old, more], begin=True))
    print(f"{chosen.rows:,} rows of {chosen.words} words, {new:,} new, {chosen.pairs} pairs, {os.cpu_count()} cores")
    for name, results in found.items():
        seconds = [one for one, _ in results]
        print(
            f"{name:9} min {min(seconds):7.2f} s  median {statistics.median(seconds):7.2f} s  "
            f"max {max(seconds):7.2f} s  peak {max(memory for _, memory in results):6.0f} MB"
        )
    ratios = [whole[0] / part[0] for part, whole in zip(found["append"], found["all anew"], strict=True)]
    print(f"{'ratio':9} min {min(ratios):7.1f}    median {statistics.median(ratios):7.1f}    max {max(ratios):7.1f}")


if __name__ == "__main__":
    main()
