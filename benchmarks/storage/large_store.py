"""A store of 10,000 artifacts and 1,000 versions: what opening, `tamis log` and everyday questions take.

    python benchmarks/storage/large_store.py [--artifacts 10000] [--versions 1000] [--pairs 3]

The store holds one data set of 100 examples, score artifacts, evaluations and selections, all with tables of 100
rows and written as every artifact is. Of the versions, 400 are of one subset and the rest of 20 more. Commands are
processes of their own and their times include the start of the interpreter; `import storage` is that start alone.
The other times are of calls in one process, each on a newly opened store. The first round is not counted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from storage import Store
from storage.artifacts import Request
from storage.index import ExampleIndex
from storage.schemas import DatasetSchema, Feature
from storage.values import Scores, Selection

_ROWS = 100
_OTHER_SUBSETS = 20
_DATASET = Request(kind="dataset", settings={"name": "large"})
_TAMIS = [sys.executable, "-c", "from flows.cli import main; main()"]


def build(root: Path, num_artifacts: int, num_versions: int) -> None:
    """Fill a new store: a fifth of the artifacts are selections, a fifth evaluations, the others scores."""
    store = Store.create(root)
    ids = [f"large:{number:03d}" for number in range(_ROWS)]
    labels = ["a", "b"] * (_ROWS // 2)
    examples = pl.DataFrame({"example_id": ids, "split": "train", "label": labels, "x": np.arange(_ROWS) / _ROWS})
    schema = DatasetSchema(features=(Feature(name="x", kind="number"),), classes=("a", "b"))
    with store.write(_DATASET) as draft:
        draft.add_table("examples", examples)
        draft.meta.update({"schema": schema.to_json(), "counts": {"by_split": {"train": _ROWS}}})
    store.publish("dataset", "large", _DATASET.id)
    index, rng = ExampleIndex(ids), np.random.default_rng(0)
    inputs = {"dataset": _DATASET.id}
    scores: list[str] = []
    selections: list[str] = []
    for number in range(num_artifacts - 2):
        if number % 5 == 3:
            inputs = {"dataset": _DATASET.id, "score.el2n": scores[-1]}
            request = Request(kind="selection", settings={"selector": {"fraction": number}}, inputs=inputs)
            kept = rng.random(_ROWS) < 0.5
            reasons = np.where(kept, "kept", "dropped").astype(object)
            store.write_selection(request, Selection(index=index, weights=kept.astype(np.float32), reasons=reasons), {})
            selections.append(request.id)
        elif number % 5 == 4:
            request = Request(kind="evaluation", settings={"data": str(number)}, inputs=inputs, seed=number)
            with store.write(request) as draft:
                draft.meta.update({"learner": "erm", "data": "subset", "metrics": {"test_accuracy": rng.random()}})
        else:
            request = Request(kind="scores", settings={"scorer": {"epoch": number}}, inputs={"dataset": _DATASET.id})
            store.write_scores(request, Scores(index=index, values=rng.random(_ROWS), high_means="hard"), {})
            scores.append(request.id)
    columns = {"el2n": scores[0], "loss": scores[1]}
    scored = Request(kind="scored", settings={"columns": columns}, inputs={"dataset": _DATASET.id})
    with store.write(scored) as draft:
        draft.meta.update({"dataset": _DATASET.id, "columns": columns})
    store.publish("scored", "large", scored.id)
    for number in range(num_versions - 2):
        name = "large-clean" if number % 5 < 2 else f"other-{number % _OTHER_SUBSETS}"
        store.publish("subset", name, selections[number % len(selections)])


def commands(root: Path) -> dict[str, list[str]]:
    """What is run as a process of its own."""
    ask = [*_TAMIS, "sql", "SELECT label, avg(el2n) FROM scored.large GROUP BY 1", "--store", str(root)]
    return {
        "import storage": [sys.executable, "-c", "import storage.store"],
        "open the store": [sys.executable, "-c", f"from storage import Store; Store.open({str(root)!r})"],
        "tamis log large-clean": [*_TAMIS, "log", "large-clean", "--store", str(root)],
        "tamis show": [*_TAMIS, "show", "--store", str(root)],
        "tamis sql scored.large": ask,
        "tamis gc": [*_TAMIS, "gc", "--store", str(root)],
        "tamis fsck --quick": [*_TAMIS, "fsck", "--quick", "--store", str(root)],
        "tamis fsck": [*_TAMIS, "fsck", "--store", str(root)],
    }


def calls(root: Path) -> dict[str, Callable[[], object]]:
    """What is called in this process."""
    newest = Store.open(root).version("subset", "large-clean").number
    queries = {
        f"sql {name}": lambda name=name: Store.open(root).sql(f"SELECT count(*) FROM {name}")
        for name in ("scored.large", "catalog.versions", "catalog.artifacts", "catalog.lineage", "catalog.metrics")
    }
    return {
        **queries,
        "why": lambda: Store.open(root).why("large:017"),
        "diff": lambda: Store.open(root).diff("large-clean@1", f"large-clean@{newest}"),
        "publish_catalog": lambda: Store.open(root).publish_catalog(),
    }


def run(command: list[str]) -> None:
    """Run a command to its end; its output is not kept."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print how long each question takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=1_000)
    parser.add_argument("--pairs", type=int, default=3, help="rounds")
    parser.add_argument("--store", type=Path, help="use this store, made by an earlier run with --keep")
    parser.add_argument("--keep", type=Path, help="build the store here and leave it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = chosen.store or chosen.keep or Path(folder) / "store"
        if not chosen.store:
            started = time.perf_counter()
            build(root, chosen.artifacts, chosen.versions)
            print(f"built in {time.perf_counter() - started:.1f} s", flush=True)
        asked: dict[str, Callable[[], object]] = {
            name: lambda command=command: run(command) for name, command in commands(root).items()
        }
        asked |= calls(root)
        print(f"{chosen.artifacts:,} artifacts, {chosen.versions:,} versions, {os.cpu_count()} cores, seconds:")
        for name, ask in asked.items():
            found = []
            for _ in range(chosen.pairs + 1):
                started = time.perf_counter()
                ask()
                found.append(time.perf_counter() - started)
            del found[0]
            times = f"min {min(found):7.3f}  median {statistics.median(found):7.3f}  max {max(found):7.3f}"
            print(f"{name:24} {times}", flush=True)


if __name__ == "__main__":
    main()
