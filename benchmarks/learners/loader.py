"""Loader: rows a second on a shuffled 30 % subset, beside Hugging Face `datasets` and a plain `TensorDataset`.

    python benchmarks/learners/loader.py [--images fashion_mnist_train.parquet] [--workers 0 2] [--pairs 5]

Each measurement is a process of its own, the three taking turns, after one turn that is not counted. All read the
same 30 % of 60,000 images of 28 x 28 bytes (random ones without `--images`, a Parquet file with the columns `image`
and `label`) in batches of 128, and end with float32 images in [0, 1] and int64 labels; `datasets` and `TensorDataset`
give integers, which are scaled in the loop. Ours starts from a subset in a store that was used once before,
`datasets` from a directory saved to disk, with a selection of rows in torch format (images as flat lists, its
fastest form), and `TensorDataset` from tensors in memory.

Rows a second are over the later epochs, the workers of all three living on between them; the time to the first
batch is from opening what lies on disk (for `TensorDataset`: from the tensors) to the first batch of the first epoch.
Memory is the peak of the training process, without its workers.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from learners.batches import loader
from storage.artifacts import Request
from storage.schemas import DatasetSchema, Feature
from storage.store import Store
from storage.values import Selection

NUM_IMAGES, FRACTION, BATCH_SIZE = 60_000, 0.3, 128
SIDES = ("tamis", "datasets", "TensorDataset")


def images_and_labels(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """(N, 784) uint8 images and (N,) int64 labels."""
    if path is None:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (NUM_IMAGES, 784), dtype=np.uint8), rng.integers(0, 10, NUM_IMAGES)
    frame = pl.read_parquet(path, columns=["image", "label"])
    return frame["image"].to_numpy(), frame["label"].cast(pl.Int64).to_numpy()


def prepare(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """What each side starts from, on disk."""
    import datasets

    datasets.disable_progress_bars()
    kept = np.random.default_rng(1).random(len(images)) < FRACTION
    store = Store.create(folder / "store")
    request = Request(kind="dataset", settings={"name": "bench"})
    schema = DatasetSchema(features=(Feature(name="image", kind="image", shape=(28, 28)),), classes=tuple("0123456789"))
    with store.write(request) as draft:
        ids = [f"bench:{row}" for row in range(len(images))]
        named = pl.Series(labels).cast(pl.String)
        frame = pl.DataFrame({"example_id": ids, "split": "train", "label": named, "image": images})
        for start in range(0, len(frame), 10_000):
            draft.add_table("examples", frame.slice(start, 10_000))
        draft.meta.update({"schema": schema.to_json(), "counts": {"by_split": {}}})
    selection = Selection(
        index=store.dataset(request.id).index("train"),
        weights=kept.astype(np.float32),
        reasons=np.where(kept, "kept", "dropped").astype(object),
    )
    chosen = Request(kind="selection", settings={}, inputs={"dataset": request.id})
    store.write_selection(chosen, selection, {})
    store.publish("subset", "bench", chosen.id)
    store.subset("bench")
    columns = {"image": images, "label": labels}
    features = datasets.Features({"image": datasets.List(datasets.Value("uint8")), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(folder / "datasets"))
    np.save(folder / "kept.npy", kept)
    np.save(folder / "images.npy", images[kept].reshape(-1, 28, 28))
    np.save(folder / "labels.npy", labels[kept])


def ours(folder: Path, workers: int) -> Callable[[], Iterable[tuple[Tensor, Tensor]]]:
    """Epochs from our loader."""
    batches = loader(Store.open(folder / "store").subset("bench@1"), batch_size=BATCH_SIZE, workers=workers)
    return lambda: ((batch.inputs, batch.labels) for batch in batches)


def _scaled(images: Tensor) -> Tensor:
    return images.to(torch.float32).div_(255.0).view(-1, 1, 28, 28)


def hugging_face(folder: Path, workers: int) -> Callable[[], Iterable[tuple[Tensor, Tensor]]]:
    """Epochs from `datasets` in torch format."""
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.load_from_disk(str(folder / "datasets")).select(np.flatnonzero(np.load(folder / "kept.npy")))
    batches = DataLoader(
        rows.with_format("torch"),
        batch_size=BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda: ((_scaled(batch["image"]), batch["label"]) for batch in batches)


def tensors(folder: Path, workers: int) -> Callable[[], Iterable[tuple[Tensor, Tensor]]]:
    """Epochs from tensors in memory."""
    rows = TensorDataset(*(torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("images", "labels")))
    batches = DataLoader(rows, batch_size=BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return lambda: ((_scaled(images), labels) for images, labels in batches)


def measure(side: str, folder: Path, workers: int, epochs: int) -> dict[str, float]:
    """Rows a second over the later epochs, seconds to the first batch, and peak memory in MB."""
    make = dict(zip(SIDES, (ours, hugging_face, tensors), strict=True))[side]
    if side == "datasets":
        import_module("datasets")  # not what is measured
    began = time.perf_counter()
    epoch = make(folder, workers)
    first = 0.0
    for number, _ in enumerate(epoch()):
        first = first if number else time.perf_counter() - began
    rows, began = 0, time.perf_counter()
    for _ in range(epochs):
        rows += sum(len(labels) for _, labels in epoch())
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()
    memory = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
    return {"rows": rows / seconds, "first": first, "memory": memory}


def resumes_exactly(folder: Path) -> bool:
    """Whether a place in an epoch leads to the same rows with 0 and with 2 workers."""
    subset = Store.open(folder / "store").subset("bench@1")
    whole = loader(subset, batch_size=BATCH_SIZE, seed=3)
    given: Iterator[object] = iter(whole)
    for _ in range(50):
        next(given)
    state = whole.state_dict()
    rest = [batch.positions for batch in whole]
    for workers in (0, 2):
        again = loader(subset, batch_size=BATCH_SIZE, seed=3, workers=workers)
        again.load_state_dict(state)
        found = [batch.positions for batch in again]
        if len(found) != len(rest) or not all(map(torch.equal, found, rest)):
            return False
    return True


def child(side: str, folder: Path, workers: int, epochs: int) -> dict[str, float]:
    """A measurement in a process of its own."""
    command = [sys.executable, __file__, "--child", side, str(folder), "--workers", str(workers)]
    done = subprocess.run(
        [*command, "--epochs", str(epochs)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    if done.returncode:
        raise SystemExit(f"{side} with {workers} workers ended with {done.returncode}:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def spread(values: list[float], form: str) -> str:
    """Least, median and largest, in one form."""
    return "  ".join(
        f"{name} {format(value, form)}"
        for name, value in (("min", min(values)), ("median", statistics.median(values)), ("max", max(values)))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="Parquet file with the columns image and label")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="numbers of worker processes")
    parser.add_argument("--pairs", type=int, default=5, help="turns of each side")
    parser.add_argument("--epochs", type=int, default=3, help="epochs that are timed in each turn")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        side, folder = chosen.child
        print(json.dumps(measure(side, Path(folder), chosen.workers[0], chosen.epochs)))
        return
    with tempfile.TemporaryDirectory() as place:
        images, labels = images_and_labels(chosen.images)
        prepare(Path(place), images, labels)
        kept = int(np.load(Path(place) / "kept.npy").sum())
        print(f"{kept:,} of {len(images):,} images, batches of {BATCH_SIZE}, {os.cpu_count()} cores")
        print(f"resumes exactly with 0 and 2 workers: {'yes' if resumes_exactly(Path(place)) else 'NO'}")
        for workers in chosen.workers:
            found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
            for turn in range(chosen.pairs + 1):
                for side in SIDES:
                    result = child(side, Path(place), workers, chosen.epochs)
                    if turn:
                        found[side].append(result)
            print(f"\n{workers} workers, {chosen.pairs} turns of {chosen.epochs} epochs")
            for side, results in found.items():
                rows = spread([one["rows"] for one in results], ",.0f")
                first = statistics.median(one["first"] for one in results)
                memory = max(one["memory"] for one in results)
                print(f"{side:13} rows/s {rows}   first batch {1000 * first:.0f} ms   peak {memory:.0f} MB")
            for side in SIDES[1:]:
                ratios = [mine["rows"] / other["rows"] for mine, other in zip(found["tamis"], found[side], strict=True)]
                print(f"tamis / {side:13} {spread(ratios, '.2f')}")


if __name__ == "__main__":
    main()
