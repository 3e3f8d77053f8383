"""Worlds so small that what a model is worth on them can be worked out by hand."""

import numpy as np
import polars as pl

from flows.config import Recipe
from flows.plan import plan_run
from flows.step import Step, run_step, show_nothing
from storage.store import Store
from tests.flows.recipes import small_recipe

SETTINGS = (
    "seeds=1",
    "training={epochs=6, batch_size=16, learning_rate=0.5, threads=1}",
    "model={method='mlp', widths=[8]}",
    "learners={plain={method='erm'}}",
    "scorers={}",
    "selection={subset='all', method='everything'}",
    "arms=[{learner='plain', data='everything'}]",
)


def noisy_recipe(place, *further: str) -> Recipe:
    """120 rows of two classes that two numbers tell apart, nearly; a fifth of the labels is flipped."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 120)
    frame = {"row": [f"r{one}" for one in range(120)], "x": labels + rng.normal(0, 0.7, 120), "y": rng.normal(size=120)}
    pl.DataFrame({**frame, "answer": np.where(labels == 1, "yes", "no")}).write_csv(place / "tiny.csv")
    return small_recipe(
        f"source.location={place / 'tiny.csv'}",
        "name=tiny",
        "columns={features=['x', 'y'], label='answer', key='row'}",
        "splits={train=0.5, validation=0.2, test=0.3}",
        *SETTINGS,
        *further,
    )


def split_rows() -> pl.DataFrame:
    """72 rows with `x` near -1 (no) or 1 (yes); of 12 test rows 3 have the other label, of 20 to validate 4."""
    rng = np.random.default_rng(1)
    sides = {"train": [-1, 1] * 20, "validation": [-1, 1] * 10, "test": [-1] * 8 + [1] * 4}
    swapped = {"train": [], "validation": [0, 1, 2, 3], "test": [6, 7, 11]}
    parts = []
    for split, side in sides.items():
        labels = ["yes" if (one > 0) != (place in swapped[split]) else "no" for place, one in enumerate(side)]
        x = np.array(side) + rng.uniform(-0.2, 0.2, len(side))
        places = ["rare" if place in (0, 7) else "common" for place in range(len(side))]
        rows = [f"{split}{place}" for place in range(len(side))]
        parts.append(pl.DataFrame({"row": rows, "x": x, "answer": labels, "place": places, "part": split}))
    return pl.concat(parts)


def split_recipe(place, *further: str, rows: pl.DataFrame | None = None) -> Recipe:
    """A recipe over `split_rows`, or over rows like them."""
    (split_rows() if rows is None else rows).write_csv(place / "split.csv")
    return small_recipe(
        f"source.location={place / 'split.csv'}",
        "name=sides",
        "noise={method='symmetric', rate=0.0}",
        "columns={features=['x'], label='answer', key='row', group='place', split='part'}",
        *SETTINGS,
        *further,
    )


def made(store: Store, recipe: Recipe, module: str) -> list[str]:
    """Ids of what the steps of a module made, with all before them."""
    steps: list[Step] = list(plan_run(recipe, store).steps)
    last = max(place for place, step in enumerate(steps) if step.module == module)
    for step in steps[: last + 1]:
        run_step(store, step, None, show_nothing)
    return [step.id for step in steps if step.module == module]
