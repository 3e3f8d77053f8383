"""A small data set that is appended to, with probabilities brought along, and recipes over it."""

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flows import cli
from flows.config import Recipe, parse_recipe
from flows.curate_and_train import Outcome, curate_and_train
from flows.ingest_by_hand import append_location, ingest_location
from flows.signals_by_hand import ingest_signals
from flows.step import show_nothing
from storage.store import Store

WORDS = np.array(["ash", "birch", "cedar", "elm", "fir", "gum"])
PARTS = ((0, 120), (120, 150), (150, 160))
"""First and last key of the rows of each file."""

SAID = ["rows.csv", "--name", "toys", "--label", "kind", "--key", "id", "--features", "a", "--features", "b"]
COLUMNS: dict[str, Any] = {
    name: value
    for name, value in cli.ingest.make_context("ingest", SAID).params.items()
    if name not in ("location", "name", "append", "root")
}
SIGNALS: dict[str, Any] = {
    **dict.fromkeys(("classes", "score", "high_means", "source_format")),
    **{"name": "probs", "take": ("probs=pred_probs",), "append": False},
}
RECIPE: dict[str, Any] = {
    "name": "toys",
    "dataset": "toys",
    "signals": {
        "mine": {"given": "probs", "names": {"oof_probs": "probs", "logits": "probs"}},
        "hashes": {"method": "content_hash", "column": "words"},
        "numbers": {"method": "features"},
        "grams": {"method": "hashed_ngrams", "column": "words"},
    },
    "scorers": {
        "issues": {"method": "confident_learning", "signals": "mine"},
        "el2n": {"method": "el2n", "signals": "mine"},
        "twins": {"method": "exact_duplicates", "signals": "hashes"},
        "far": {"method": "knn_distance", "signals": "numbers", "num_neighbors": 3},
        "odd": {"method": "knn_disagreement", "signals": "numbers", "num_neighbors": 3},
        "rank": {"method": "percentile", "score": "el2n"},
        "alike": {"method": "text_classifier", "signals": "grams", "target": 0},
    },
}


@contextmanager
def no_progress(steps: int):
    yield show_nothing


def write_files(folder: Path) -> None:
    """`rows<n>.csv` and `probs<n>.npz` for each of the parts."""
    rng = np.random.default_rng(5)
    for number, (first, last) in enumerate(PARTS):
        size = last - first
        kinds = rng.integers(3, size=size)
        centres = rng.normal(size=(size, 2)) + 3 * kinds[:, None]
        pairs = zip(kinds, rng.integers(200, size=size), strict=True)
        words = [f"{WORDS[kind]} {WORDS[kind + 3]} {one}" for kind, one in pairs]
        rows = {"id": np.arange(first, last), "a": centres[:, 0], "b": centres[:, 1], "words": words}
        pl.DataFrame({**rows, "kind": np.array(["x", "y", "z"])[kinds]}).write_csv(folder / f"rows{number}.csv")
        probs = rng.dirichlet(np.ones(3), size)
        np.savez(folder / f"probs{number}.npz", key=rows["id"], pred_probs=probs, hardness=rng.random(size))


def begin(store: Store, folder: Path) -> None:
    ingest_location(store, str(folder / "rows0.csv"), "toys", COLUMNS, no_progress)
    ingest_signals(store, "toys", str(folder / "probs0.npz"), SIGNALS, no_progress)


def append(store: Store, folder: Path, number: int) -> None:
    append_location(store, str(folder / f"rows{number}.csv"), "toys", COLUMNS, no_progress)
    options = {**SIGNALS, "append": True}
    ingest_signals(store, "toys", str(folder / f"probs{number}.npz"), options, no_progress)


def run(store: Store, raw: Mapping[str, Any] = RECIPE) -> Outcome:
    recipe: Recipe = parse_recipe(raw)
    return curate_and_train(store, recipe, show_nothing)


def columns_of(store: Store) -> dict[str, str]:
    """Ids of the scores in the newest `scored` version."""
    return dict(store.record(store.version("scored", "toys").artifact).meta["columns"])
