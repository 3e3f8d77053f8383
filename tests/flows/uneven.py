"""A table of two uneven classes, and what rebalances it in a store."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flows.config import Recipe, parse_recipe
from flows.step import Step, run_step, show_nothing
from storage.artifacts import Request
from storage.ingest.memory import ingest_frame
from storage.schemas import Roles
from storage.store import Store

ROLES = Roles(features=("x", "n"), label="answer", key="row", group="place", split="part")


def uneven_rows(size: int = 90) -> pl.DataFrame:
    """A quarter is `yes`, with a greater `x`; `n` is whole; a seventh of the rows is of the test split."""
    rng = np.random.default_rng(3)
    kinds = (np.arange(size) % 4 == 0).astype(int)
    parts = np.where(np.arange(size) % 7 == 0, "test", np.where(np.arange(size) % 9 == 0, "validation", "train"))
    return pl.DataFrame(
        {
            "row": [f"r{one}" for one in range(size)],
            "x": rng.normal(2.0 * kinds),
            "n": rng.integers(0, 9, size),
            "colour": rng.choice(["red", "green", "blue"], size),
            "size": rng.choice(["small", "large"], size),
            "note": [f"note {one}" for one in range(size)],
            "answer": np.where(kinds, "yes", "no"),
            "place": np.where(np.arange(size) % 3, "town", "farm"),
            "part": parts,
        }
    )


def uneven_store(place: Path, frame: pl.DataFrame | None = None, roles: Roles = ROLES) -> Store:
    store = Store.create(place / "store")
    ingest_frame(store, "tiny", uneven_rows() if frame is None else frame, roles=roles)
    return store


def rebalanced(store: Store, settings: Mapping[str, Any], selection: str | None = None, seed: int = 0) -> str:
    """Id of what the step makes of `tiny`, published as `even`."""
    inputs = {"dataset": store.version("dataset", "tiny").artifact, **({"selection": selection} if selection else {})}
    request = Request(kind="selection", settings={"rebalancer": settings}, inputs=inputs, seed=seed)
    step = Step(title="rebalance", module="rebalance_examples", request=request, publish=("subset", "even"))
    return run_step(store, step, None, show_nothing)


def uneven_recipe(place: Path, **further: Any) -> Recipe:
    """A recipe over the table as a file: half of it at random, then SMOTE."""
    if not (place / "tiny.csv").exists():
        uneven_rows().write_csv(place / "tiny.csv")
    raw: dict[str, Any] = {
        "name": "tiny",
        "source": {"location": str(place / "tiny.csv")},
        "columns": {"features": ["x", "n"], "label": "answer", "key": "row", "group": "place", "split": "part"},
        "selection": {"subset": "most", "method": "random", "fraction": 0.8},
        "rebalance": {"subset": "even", "method": "smote", "num_neighbors": 3},
    }
    return parse_recipe({**raw, **further})
