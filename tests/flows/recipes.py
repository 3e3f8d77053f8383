"""Recipes small enough for tests: digits and a table, a few epochs, two seeds."""

from flows.config import Recipe, load_recipe

SMALL = (
    "seeds=2",
    "training.epochs=3",
    'learners.plain.record={logits=[1, 3], train_logits="every"}',
    "learners.elr.record={elr_targets=[1, 3]}",
    "scorers.el2n.epoch=3",
    "scorers.loss.epoch=1",
)

TABLE = (
    "source.location=sklearn:iris",
    "seeds=2",
    'columns={features=["*"], label="label"}',
    'model={method="mlp", widths=[8]}',
    "training={epochs=2, batch_size=16, threads=1}",
    'learners={plain={method="erm", record={logits="last", train_logits="every"}}}',
    'scorers={el2n={method="el2n", signals="plain", epoch=2}}',
    'selection={subset="kept", method="threshold", score="el2n", maximum=2.0}',
    'arms=[{learner="plain", data="everything"}]',
)
"""Overrides that make the digits recipe one of scikit-learn's irises."""


def small_recipe(*further: str) -> Recipe:
    return load_recipe("digits", (*SMALL, *further))
