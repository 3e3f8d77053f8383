"""Queries over 1,000,000 scored rows through the store's views, beside DuckDB on the same Parquet files.

    python benchmarks/storage/views.py [--rows 1000000] [--pairs 5] [--threads 0]

Each query runs in a process of its own, the two sides taking turns, after one pair that is not counted. Ours opens
the store, finds the versions, makes the views, seals the connection and asks; the other side opens an
in-memory DuckDB and runs a query written by hand over the paths of the same files, which it is given. Both end with
the answer in Polars, and the answers are compared. Imports are not in the times. `one file` reads the
file of one score, without the examples beside it: what the question costs who knows that it needs no join.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl

from storage import Store
from storage.artifacts import Request
from storage.index import ExampleIndex
from storage.schemas import DatasetSchema, Feature
from storage.values import Scores, Selection

_NAMES = np.array(["ankle boot", "bag", "coat", "dress", "pullover", "sandal", "shirt", "sneaker", "top", "trousers"])
_JOINED = "read_parquet($examples) e LEFT JOIN read_parquet($el2n) s ON s.example_id = e.example_id"
_BOTH = f"{_JOINED} LEFT JOIN read_parquet($aum) a ON a.example_id = e.example_id"

QUERIES = {
    "top 30 % by el2n": (
        "SELECT example_id, label, el2n FROM scored.big WHERE split = 'train' ORDER BY el2n DESC LIMIT {top}",
        f"SELECT e.example_id, label, value AS el2n FROM {_JOINED} WHERE split = 'train' ORDER BY value DESC LIMIT "
        "{top}",
    ),
    "top 30 %, one file": (
        "SELECT example_id, el2n FROM scored.big WHERE split = 'train' ORDER BY el2n DESC LIMIT {top}",
        "SELECT example_id, value AS el2n FROM read_parquet($el2n) ORDER BY value DESC LIMIT {top}",
    ),
    "above the 70th percentile": (
        "SELECT count(*) AS n, avg(aum) AS aum FROM scored.big "
        "WHERE el2n >= (SELECT quantile_cont(el2n, 0.7) FROM scored.big)",
        f"SELECT count(*) AS n, avg(a.value) AS aum FROM {_BOTH} "
        f"WHERE s.value >= (SELECT quantile_cont(value, 0.7) FROM {_JOINED})",
    ),
    "two scores by label": (
        "SELECT label, count(*) AS n, avg(el2n) AS el2n, avg(aum) AS aum FROM scored.big GROUP BY label ORDER BY label",
        f"SELECT label, count(*) AS n, avg(s.value) AS el2n, avg(a.value) AS aum FROM {_BOTH} "
        "GROUP BY label ORDER BY label",
    ),
    "join with a subset": (
        'SELECT s.label, count(*) AS n, avg(s.el2n) AS el2n FROM scored.big s JOIN subset."big-clean" c '
        "USING (example_id) WHERE c.weight > 0 GROUP BY s.label ORDER BY s.label",
        f"SELECT e.label, count(*) AS n, avg(value) AS el2n FROM {_JOINED} JOIN read_parquet($selection) c "
        "ON c.example_id = e.example_id WHERE c.weight > 0 GROUP BY e.label ORDER BY e.label",
    ),
    "one example": (
        "SELECT example_id, label, el2n FROM scored.big WHERE example_id = 'big:0000017'",
        f"SELECT e.example_id, label, value AS el2n FROM {_JOINED} WHERE e.example_id = 'big:0000017'",
    ),
}
"""Name of a question; how it is put to the store; how it is put to DuckDB with the paths of the files."""


def build(root: Path, rows: int) -> dict[str, list[str]]:
    """A store with a data set, two scores and a subset; the paths of the files of each."""
    store, rng = Store.create(root), np.random.default_rng(0)
    ids = [f"big:{number:07d}" for number in range(rows)]
    index = ExampleIndex(ids)
    columns = {"example_id": ids, "split": "train", "label": _NAMES[rng.integers(0, 10, rows)]}
    examples = pl.DataFrame({**columns, **{f"x{place}": rng.normal(size=rows) for place in range(4)}})
    features = tuple(Feature(name=f"x{place}", kind="number") for place in range(4))
    schema = DatasetSchema(features=features, classes=tuple(_NAMES.tolist()))
    dataset = Request(kind="dataset", settings={"name": "big"})
    with store.write(dataset) as draft:
        draft.add_table("examples", examples)
        draft.meta.update({"schema": schema.to_json(), "counts": {"by_split": {"train": rows}}})
    inputs = {"dataset": dataset.id}
    made = {name: Request(kind="scores", settings={"scorer": name}, inputs=inputs) for name in ("el2n", "aum")}
    for request in made.values():
        values, error = rng.normal(size=rows), rng.random(rows)
        store.write_scores(request, Scores(index=index, values=values, high_means="hard", standard_error=error), {})
    score_ids = {name: request.id for name, request in made.items()}
    scored = Request(kind="scored", settings={"columns": score_ids}, inputs=inputs)
    with store.write(scored) as draft:
        draft.meta.update({"dataset": dataset.id, "columns": score_ids})
    kept = rng.random(rows) < 0.7
    selection = Request(kind="selection", settings={}, inputs=inputs)
    reasons = np.where(kept, "kept", "dropped").astype(object)
    store.write_selection(selection, Selection(index=index, weights=kept.astype(np.float32), reasons=reasons), {})
    for kind, name, request in (
        ("dataset", "big", dataset),
        ("scored", "big", scored),
        ("subset", "big-clean", selection),
    ):
        store.publish(kind, name, request.id)
    tables = {"examples": dataset.id, "el2n": score_ids["el2n"], "aum": score_ids["aum"], "selection": selection.id}
    return {name: [str(root / file.path) for file in store.record(one).files] for name, one in tables.items()}


def ask(side: str, sql: str, threads: int, root: str, paths: dict[str, list[str]]) -> None:
    """One side's run, in a child process: prints its seconds and what tells one answer from another."""
    import duckdb

    from storage.limits import Limits

    for name in ("pyarrow", "storage.query"):
        import_module(name)  # not to be in the time
    started = time.perf_counter()
    if side == "tamis":
        answer = Store.open(root).sql(sql, Limits(threads=threads or None))
    else:
        with duckdb.connect(config={"threads": threads} if threads else {}) as connection:
            used = {name: files for name, files in paths.items() if f"${name}" in sql}
            answer = connection.sql(sql, params=used).pl()
    seconds = time.perf_counter() - started
    numbers = answer.select(pl.selectors.numeric().sum().round(4))
    print(json.dumps([seconds, len(answer), numbers.rows()]))


def measure(arguments: list[str]) -> tuple[float, float, object]:
    """Seconds, peak resident memory in MB and a digest of the answer of a child process."""
    command = [sys.executable, __file__, "--child", *arguments]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, stdout=subprocess.PIPE)
    assert child.stdout is not None
    seconds, *digest = json.loads(child.stdout.read())
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return seconds, usage.ru_maxrss / 1024, digest


def compare(name: str, chosen: argparse.Namespace, root: Path, paths: dict[str, list[str]]) -> None:
    """Run both sides of a question in turns and print what they took."""
    found: dict[str, list[tuple[float, float, object]]] = {"tamis": [], "duckdb": []}
    for pair in range(chosen.pairs + 1):
        sides = list(zip(found, QUERIES[name], strict=True))
        for side, sql in sides if pair % 2 else reversed(sides):
            text = sql.replace("{top}", str(chosen.rows * 3 // 10))
            result = measure([side, text, str(chosen.threads), str(root), json.dumps(paths)])
            if pair:
                found[side].append(result)
    if found["tamis"][0][2] != found["duckdb"][0][2]:
        raise SystemExit(f"{name}: the two sides answer differently: {found['tamis'][0]}, {found['duckdb'][0]}")
    ratios = [mine[0] / other[0] for mine, other in zip(*found.values(), strict=True)]
    medians = [statistics.median(one[0] for one in results) for results in found.values()]
    peaks = [max(one[1] for one in results) for results in found.values()]
    print(
        f"{name:26} ratio min {min(ratios):5.2f}  median {statistics.median(ratios):5.2f}  max {max(ratios):5.2f}   "
        f"tamis {medians[0]:6.3f} s, {peaks[0]:4.0f} MB   duckdb {medians[1]:6.3f} s, {peaks[1]:4.0f} MB",
        flush=True,
    )


def main() -> None:
    """Print the ratio of times for each question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of both sides; 0 takes one a core")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        side, sql, threads, root, paths = chosen.child
        if side == "build":
            print(json.dumps([0.0, build(Path(root), json.loads(paths))]))
        else:
            ask(side, sql, int(threads), root, json.loads(paths))
        return
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a child's peak memory begins at its parent's.
        _, _, (paths,) = measure(["build", "", "0", str(Path(folder) / "store"), json.dumps(chosen.rows)])
        threads = chosen.threads or os.cpu_count()
        print(f"{chosen.rows:,} rows, {chosen.pairs} pairs, {threads} threads")
        for name in QUERIES:
            compare(name, chosen, Path(folder) / "store", paths)


if __name__ == "__main__":
    main()
