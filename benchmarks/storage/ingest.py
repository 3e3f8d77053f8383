"""Ingest of CSV and JSONL beside Polars' and pyarrow's bare conversion of the same file to Parquet.

    python benchmarks/storage/ingest.py [--rows 1000000] [--columns 50] [--pairs 5] [--format csv --format jsonl]

For each format four runs take turns, each a process of its own, after one of each that is not counted: ours with a
key column, ours with ids hashed from the content, `polars.scan_*(...).sink_parquet(...)`, and `pyarrow.csv` or
`pyarrow.json` in a stream (JSON in one piece, for it has no stream of Parquet row groups) into a Parquet writer. Ours
hashes the source, checks every cell and row, gives ids and splits, looks for repeated keys and flushes to
disk. Times include the start of the interpreter. The ratios are ours over the faster of the two peers in
the same round. Aims: at most 1.5 with a key, at most 2.5 with content hashing.
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
_OURS = ("key", "content")
_PEERS = {
    ("polars", "csv"): "import sys, polars; polars.scan_csv(sys.argv[1]).sink_parquet(sys.argv[2])",
    ("polars", "jsonl"): "import sys, polars; polars.scan_ndjson(sys.argv[1]).sink_parquet(sys.argv[2])",
    ("pyarrow", "csv"): (
        "import sys, pyarrow.csv as c, pyarrow.parquet as p\n"
        "r = c.open_csv(sys.argv[1], read_options=c.ReadOptions(block_size=16 << 20))\n"
        "with p.ParquetWriter(sys.argv[2], r.schema) as w:\n"
        "    for b in r: w.write_batch(b)"
    ),
    ("pyarrow", "jsonl"): (
        "import sys, pyarrow.json as j, pyarrow.parquet as p\n"
        "p.write_table(j.read_json(sys.argv[1], read_options=j.ReadOptions(block_size=16 << 20)), sys.argv[2])"
    ),
}


def write_source(path: Path, rows: int, columns: int) -> None:
    """A key, a label of 10 classes, numbers with 6 decimals, and a category of 3 words as the last column."""
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue"])
    with path.open("wb") as stream:
        for start in range(0, rows, _ROWS_AT_A_TIME):
            count = min(_ROWS_AT_A_TIME, rows - start)
            numbers = {f"x{place}": np.round(rng.normal(size=count), 6) for place in range(columns - 3)}
            named = {"id": np.arange(start, start + count), "label": rng.integers(0, 10, count)}
            frame = pl.DataFrame({**named, **numbers, "color": words[rng.integers(0, 3, count)]})
            if path.suffix == ".csv":
                frame.write_csv(stream, include_header=start == 0)
            else:
                frame.write_ndjson(stream)


def ingest(location: str, root: str, key: str | None) -> None:
    """Our side, in a child process."""
    from storage.artifacts import Artifacts, Request
    from storage.contract import Contract
    from storage.files import Files
    from storage.ingest.source import Source, fingerprint
    from storage.ingest.write import ingest_examples
    from storage.schemas import Roles
    from storage.splits import SplitFractions

    files = Files(Path(root))
    source = Source(location=location)
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


def compare(kind: str, rows: int, columns: int, pairs: int) -> None:
    """Print times, peak memory and ratios for one format."""
    with tempfile.TemporaryDirectory() as folder:
        source, store, parquet = (Path(folder) / name for name in (f"bench.{kind}", "store", "bench.parquet"))
        write_source(source, rows, columns)
        here = [str(Path(__file__)), "--child", str(source), str(store)]
        commands = {"key": [*here, "id"], "content": [*here, ""]}
        commands |= {name: ["-c", _PEERS[name, kind], str(source), str(parquet)] for name in ("polars", "pyarrow")}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for pair in range(pairs + 1):
            for name, command in commands.items():
                shutil.rmtree(store, ignore_errors=True)
                parquet.unlink(missing_ok=True)
                result = measure(command)
                if pair:
                    found[name].append(result)
        size = source.stat().st_size / 1e6
    print(f"{rows:,} x {columns} {kind.upper()}, {size:.0f} MB, {pairs} rounds, {os.cpu_count()} cores")
    for name, results in found.items():
        seconds = [one for one, _ in results]
        who = f"tamis, {name}" if name in _OURS else name
        print(f"{who:16} {_spread(seconds, ' s')}  peak {max(memory for _, memory in results):5.0f} MB")
    fastest = [min(pair[0][0], pair[1][0]) for pair in zip(found["polars"], found["pyarrow"], strict=True)]
    for name in _OURS:
        ratios = [mine[0] / other for mine, other in zip(found[name], fastest, strict=True)]
        print(f"{'ratio, ' + name:16} {_spread(ratios, '  ')}", flush=True)


def _spread(values: list[float], unit: str) -> str:
    return f"min {min(values):6.2f}{unit}  median {statistics.median(values):6.2f}{unit}  max {max(values):6.2f}{unit}"


def main() -> None:
    """Compare the formats that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=5, help="counted rounds")
    parser.add_argument("--format", action="append", choices=["csv", "jsonl"], help="by default both")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        location, root, key = chosen.child
        ingest(location, root, key or None)
        return
    for kind in chosen.format or ["csv", "jsonl"]:
        compare(kind, chosen.rows, chosen.columns, chosen.pairs)


if __name__ == "__main__":
    main()
