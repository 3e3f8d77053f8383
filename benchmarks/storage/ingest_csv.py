"""Ingest of a CSV beside Polars' bare conversion of the same file to Parquet.

    python benchmarks/storage/ingest_csv.py [--rows 1000000] [--columns 50] [--pairs 5] [--no-key]

Each run is a process of its own, the two taking turns, after one of each that is not counted. Ours
hashes the source, checks every cell and row, gives ids and splits, looks for repeated keys and flushes to
disk; Polars converts with `scan_csv(...).sink_parquet(...)`. Times include the start of the interpreter.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

_ROWS_AT_A_TIME = 100_000
_POLARS = "import sys, polars; polars.scan_csv(sys.argv[1]).sink_parquet(sys.argv[2])"


def write_csv(path: Path, rows: int, columns: int) -> None:
    """A key, a label of 10 classes, a category of 3 words, and numbers with 6 decimals in the other columns."""
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue"])
    with path.open("wb") as stream:
        for start in range(0, rows, _ROWS_AT_A_TIME):
            count = min(_ROWS_AT_A_TIME, rows - start)
            numbers = {f"x{place}": np.round(rng.normal(size=count), 6) for place in range(columns - 3)}
            named = {"id": np.arange(start, start + count), "label": rng.integers(0, 10, count)}
            frame = pl.DataFrame({**named, **numbers, "color": words[rng.integers(0, 3, count)]})
            frame.write_csv(stream, include_header=start == 0)


def ingest(csv: str, root: str, key: str | None) -> None:
    """Our side, in a child process."""
    from storage.artifacts import Artifacts, Request
    from storage.contract import Contract
    from storage.files import Files
    from storage.ingest.source import Source, fingerprint
    from storage.ingest.write import ingest_examples
    from storage.schemas import Roles
    from storage.splits import SplitFractions

    files = Files(Path(root))
    source = Source(location=csv)
    request = Request(kind="dataset", settings={"source": fingerprint(source, files)})
    with Artifacts(files).write(request) as draft:
        reports = ingest_examples(
            draft,
            name="bench",
            source=source,
            roles=Roles(features=("x*", "color"), label="label", key=key),
            splits=SplitFractions(),
            contract=Contract(),
            seed=0,
        )
        last = list(reports)[-1]
    assert last.kept == last.rows


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a child process."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Print times, their ratio and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--no-key", action="store_true", help="derive ids from the content")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        csv, root, key = chosen.child
        ingest(csv, root, key or None)
        return
    with tempfile.TemporaryDirectory() as folder:
        csv, store, parquet = (Path(folder) / name for name in ("bench.csv", "store", "bench.parquet"))
        write_csv(csv, chosen.rows, chosen.columns)
        ours = [str(Path(__file__)), "--child", str(csv), str(store), "" if chosen.no_key else "id"]
        bare = ["-c", _POLARS, str(csv), str(parquet)]
        found: dict[str, list[tuple[float, float]]] = {"tamis ingest": [], "polars": []}
        for pair in range(chosen.pairs + 1):
            for name, command in (("tamis ingest", ours), ("polars", bare)):
                shutil.rmtree(store, ignore_errors=True)
                parquet.unlink(missing_ok=True)
                result = measure(command)
                if pair:
                    found[name].append(result)
        size = csv.stat().st_size / 1e6
        print(
            f"{chosen.rows:,} x {chosen.columns} CSV, {size:.0f} MB, {chosen.pairs} pairs, "
            f"{'content ids' if chosen.no_key else 'a key column'}, {os.cpu_count()} cores"
        )
    for name, results in found.items():
        seconds = [one for one, _ in results]
        print(
            f"{name:13} min {min(seconds):6.2f} s  median {statistics.median(seconds):6.2f} s  "
            f"max {max(seconds):6.2f} s  peak {max(memory for _, memory in results):5.0f} MB"
        )
    ratios = [mine[0] / other[0] for mine, other in zip(found["tamis ingest"], found["polars"], strict=True)]
    print(f"{'ratio':13} min {min(ratios):6.2f}    median {statistics.median(ratios):6.2f}    max {max(ratios):6.2f}")


if __name__ == "__main__":
    main()
