"""A table of three clouds and a recipe for it: trainings of a second."""

from pathlib import Path

import numpy as np
import polars as pl

RECIPE = """
name = "clouds"
seeds = 1
source = {{location = "{folder}/clouds.csv"}}
columns = {{features = ["x", "y", "z"], label = "kind", key = "row"}}
model = {{method = "mlp", widths = [8]}}
training = {{epochs = 4, batch_size = 17, learning_rate = 0.1, threads = 1}}
learners.plain = {{method = "erm", record = {{logits = [1, 4], train_logits = "every"}}}}
learners.elr = {{method = "elr", record = {{elr_targets = [2, 4]}}}}
learners.ps_kd = {{method = "ps_kd", record = {{ps_kd_targets = [2, 4]}}}}
scorers.loss = {{method = "loss", signals = "plain", epoch = 4}}
selection = {{subset = "clean", method = "top_fraction", score = "loss", fraction = 0.8}}
arms = [
    {{learner = "elr", data = "everything"}},
    {{learner = "ps_kd", data = "everything"}},
    {{learner = "elr", data = "subset"}},
]
"""


def write_clouds(folder: Path) -> Path:
    """Three Gaussian clouds that overlap, and a recipe for them."""
    rng = np.random.default_rng(4)
    kinds = np.arange(120) % 3
    inputs = 2 * np.eye(3)[kinds] + rng.normal(size=(120, 3))
    columns = {name: inputs[:, place] for place, name in enumerate("xyz")}
    rows = {"row": [f"r{row}" for row in range(120)], **columns, "kind": [f"kind {kind}" for kind in kinds]}
    pl.DataFrame(rows).write_csv(folder / "clouds.csv")
    recipe = folder / "clouds.toml"
    recipe.write_text(RECIPE.format(folder=folder))
    return recipe
