"""A world of rows that a number and a colour tell apart, and a recipe of seconds that trains on it."""

import numpy as np
import polars as pl

from flows.config import Recipe, parse_recipe

ROWS = 240


def world(seed: int = 0) -> pl.DataFrame:
    """Two classes that a number and a colour tell apart, and a truth value that says nothing."""
    rng = np.random.default_rng(seed)
    hot = rng.random(ROWS) < 0.5
    return pl.DataFrame(
        {
            "id": [f"r{row}" for row in range(ROWS)],
            "x": np.round(rng.normal(size=ROWS) + np.where(hot, 2.0, -2.0), 4),
            "colour": np.where(hot, rng.choice(["red", "pink"], ROWS), rng.choice(["blue", "pink"], ROWS)),
            "wet": rng.random(ROWS) < 0.5,
            "kind": np.where(hot, "hot", "cold"),
        }
    )


def recipe(location, **changes) -> Recipe:
    return parse_recipe(
        {
            "name": "weather",
            "seeds": 2,
            "source": {"location": str(location)},
            "columns": {"features": ["x", "colour", "wet"], "label": "kind", "key": "id"},
            "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
            "model": {"method": "mlp", "widths": [4]},
            "training": {"epochs": 2, "batch_size": 32},
            "learners": {"plain": {"method": "erm"}},
            "selection": {"subset": "dry", "method": "random", "fraction": 0.5},
            "arms": [{"learner": "plain", "data": "everything"}, {"learner": "plain", "data": "subset"}],
            **changes,
        }
    )
