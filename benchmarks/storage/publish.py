"""Publishing with 4 writers beside appending to one Delta table, and what readers feel of it.

    python benchmarks/storage/publish.py [--publishes 40] [--writers 4] [--rows 100] [--pairs 5] [--folder DISK]

One publish is a small artifact (a score of 100 examples) and the next version of a name that all writers share; its
counterpart is an append of the same rows to one table with `deltalake`, which writes a Parquet file and a commit.
Writers are processes that begin together. What differs: tamis flushes every file and its directory to the disk
before it tells of the version; deltalake flushes nothing (it makes no fsync call), so `tamis, unflushed` has
`os.fsync` taken away, for the same durability on both sides. Ratios are of the median latencies of one round, the
sides taking turns, after a round that is not counted.

A reader opens the store and asks one small query over and over: on a store that nobody writes to, and while the
writers publish; its first query, which imports DuckDB, is not counted. Needs `pip install 'tamis[delta]'`.
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
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from storage import Store
from storage.artifacts import Request
from storage.index import ExampleIndex
from storage.schemas import DatasetSchema
from storage.values import Scores

_DATASET = Request(kind="dataset", settings={"name": "shared"})
_QUESTION = "SELECT split, count(*) AS n, avg(el2n) AS el2n FROM scored.shared GROUP BY split"
_END = "_tmp/end"
_SIDES = ("tamis", "tamis, unflushed", "deltalake")


def prepare(root: Path, rows: int) -> None:
    """A store with a data set and one version of its scores."""
    store = Store.create(root)
    examples = pl.DataFrame({"example_id": _ids(rows), "split": "train"})
    with store.write(_DATASET) as draft:
        draft.add_table("examples", examples)
        draft.meta.update({"schema": DatasetSchema(features=()).to_json(), "counts": {"by_split": {"train": rows}}})
    store.publish("dataset", "shared", _DATASET.id)
    publisher(root, rows, writer=-1)(0)


def _ids(rows: int) -> list[str]:
    return [f"shared:{number:06d}" for number in range(rows)]


def publisher(root: Path, rows: int, writer: int) -> Callable[[int], None]:
    """What publishes one writer's score number n as the next version of the name."""
    store, index = Store.open(root), ExampleIndex(_ids(rows))
    values = np.random.default_rng(0).random(rows)
    inputs = {"dataset": _DATASET.id}

    def publish(number: int) -> None:
        request = Request(kind="scores", settings={"writer": writer, "number": number}, inputs=inputs)
        store.write_scores(request, Scores(index=index, values=values, high_means="hard"), {})
        if writer >= 0:
            store.publish("subset", "shared-scores", request.id)
            return
        scored = Request(kind="scored", settings={"columns": {"el2n": request.id}}, inputs=inputs)
        with store.write(scored) as draft:
            draft.meta.update({"dataset": _DATASET.id, "columns": {"el2n": request.id}})
        store.publish("scored", "shared", scored.id)

    return publish


def appender(root: Path, rows: int) -> Callable[[int], None]:
    """What appends one score to the Delta table."""
    from deltalake import CommitProperties, write_deltalake

    values = np.random.default_rng(0).random(rows)
    frame = pl.DataFrame(
        {"example_id": _ids(rows), "value": values, "standard_error": pl.Series([None] * rows, dtype=pl.Float64)}
    )
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    patient = CommitProperties(max_commit_retries=1000)
    return lambda number: write_deltalake(str(root), table, mode="append", commit_properties=patient)


def write(side: str, root: Path, rows: int, writer: int, publishes: int) -> None:
    """One writer, in a child process: prints the seconds that each publish took."""
    if side == "tamis, unflushed":
        os.fsync = lambda descriptor: None
    act = appender(root, rows) if side == "deltalake" else publisher(root, rows, writer)
    if side != "deltalake":
        import_module("pyarrow.parquet")  # not to be in the time
    _wait_for_go()
    seconds = []
    for number in range(publishes):
        started = time.perf_counter()
        act(number)
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds))


def read(root: Path, questions: int) -> None:
    """A reader, in a child process: prints the seconds of each question; 0 asks until the writers have ended."""
    Store.open(root).sql(_QUESTION)
    _wait_for_go()
    seconds: list[float] = []
    while not (root / _END).exists() if questions == 0 else len(seconds) < questions:
        started = time.perf_counter()
        Store.open(root).sql(_QUESTION)
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds))


def _wait_for_go() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def start(*arguments: object) -> subprocess.Popen[str]:
    """A child that is ready and waits."""
    command = [sys.executable, __file__, "--child", json.dumps(list(map(str, arguments)))]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        raise SystemExit(f"{arguments} did not start")
    return child


def go(*children: subprocess.Popen[str]) -> None:
    """Let children begin."""
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()


def finished(children: list[subprocess.Popen[str]]) -> list[float]:
    """The seconds that all children told of."""
    found: list[float] = []
    for child in children:
        told, _ = child.communicate()
        if child.returncode:
            raise SystemExit(f"a child ended with {child.returncode}")
        found += json.loads(told)
    return found


def round_of(side: str, folder: Path, chosen: argparse.Namespace) -> list[float]:
    """Seconds of every publish of one side."""
    root = folder / "round"
    if side == "deltalake":
        appender(root, chosen.rows)(0)
    else:
        prepare(root, chosen.rows)
    writers = [start("write", side, root, chosen.rows, writer, chosen.publishes) for writer in range(chosen.writers)]
    go(*writers)
    published = finished(writers)
    shutil.rmtree(root)
    return published


def idle(folder: Path, chosen: argparse.Namespace) -> list[float]:
    """Seconds of a reader's questions to a store that nobody writes to."""
    root = folder / "idle"
    prepare(root, chosen.rows)
    reader = start("read", root, chosen.publishes)
    go(reader)
    asked = finished([reader])
    shutil.rmtree(root)
    return asked


def beside_writers(folder: Path, chosen: argparse.Namespace) -> list[float]:
    """Seconds of a reader's questions while writers publish."""
    root = folder / "busy"
    prepare(root, chosen.rows)
    writers = [start("write", "tamis", root, chosen.rows, one, chosen.publishes) for one in range(chosen.writers)]
    reader = start("read", root, 0)
    go(*writers, reader)
    finished(writers)
    (root / _END).touch()
    asked = finished([reader])
    shutil.rmtree(root)
    return asked


def show(name: str, seconds: list[float]) -> None:
    """Print milliseconds: the least, the middle, the 95th percentile and the most."""
    low, middle, high, most = 1000 * np.quantile(seconds, [0, 0.5, 0.95, 1])
    print(f"{name:28} min {low:7.1f}  median {middle:7.1f}  95 % {high:7.1f}  max {most:7.1f} ms  ({len(seconds)})")


def main() -> None:
    """Print latencies and the ratios of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publishes", type=int, default=40, help="of each writer in one round")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", help="where the stores are made; choose a real disk")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        job, *rest = json.loads(chosen.child)
        if job == "write":
            write(rest[0], Path(rest[1]), *map(int, rest[2:]))
        else:
            read(Path(rest[0]), int(rest[1]))
        return
    if find_spec("deltalake") is None:
        raise SystemExit("this benchmark compares with deltalake: pip install 'tamis[delta]'")
    found: dict[str, list[list[float]]] = {side: [] for side in _SIDES}
    readers: dict[str, list[float]] = {"nobody writes": [], f"{chosen.writers} writers publish": []}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        for pair in range(chosen.pairs + 1):
            rounds = {side: round_of(side, folder, chosen) for side in _SIDES}
            quiet, busy = idle(folder, chosen), beside_writers(folder, chosen)
            if pair:
                for side in _SIDES:
                    found[side].append(rounds[side])
                for asked, more in zip(readers.values(), (quiet, busy), strict=True):
                    asked += more
    print(f"{chosen.writers} writers x {chosen.publishes} publishes, {chosen.pairs} rounds, {os.cpu_count()} cores")
    for side in _SIDES:
        show(side, [one for published in found[side] for one in published])
    for side in _SIDES[:2]:
        medians = zip(found[side], found["deltalake"], strict=True)
        ratios = [statistics.median(mine) / statistics.median(other) for mine, other in medians]
        print(
            f"{side} / deltalake: min {min(ratios):.2f}  median {statistics.median(ratios):.2f}  max {max(ratios):.2f}"
        )
    for name, asked in readers.items():
        show(f"a query while {name}", asked)


if __name__ == "__main__":
    main()
