"""A recipe small enough for tests: digits, a few epochs, two seeds."""

from flows.config import Recipe, load_recipe

SMALL = (
    "seeds=2",
    "training.epochs=3",
    'learners.plain.record={logits=[1, 3], train_logits="every"}',
    "learners.elr.record={elr_targets=[1, 3]}",
    "scorers.el2n.epoch=3",
    "scorers.loss.epoch=1",
)


def small_recipe(*further: str) -> Recipe:
    return load_recipe("digits", (*SMALL, *further))
