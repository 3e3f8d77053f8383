"""Plan of a training: what one seed of one learner is asked for."""

from typing import Literal

from flows import resolve
from flows.config import LearnerConfig, Recipe, build
from flows.seeding import derived_seed
from storage.artifacts import Request


def training_request(
    recipe: Recipe, config: LearnerConfig, *, where: str, dataset: str, replicate: int, selection: str | None
) -> Request:
    """One training; signals are recorded only where it sees everything, for there every example has them."""
    from learners.training import Training

    learner, revision = resolve.described("learner", {"method": config.method, **config.settings}, where)
    model, model_revision = resolve.described("model", recipe.model or {}, "model")
    raised = {"model_revision": model_revision} if model_revision > 1 else {}
    training = build(Training, {**recipe.training, **config.training}, "training")
    record = {} if selection else {name: list(_epochs(when, training.epochs)) for name, when in config.record.items()}
    inputs = {"dataset": dataset, **({"selection": selection} if selection else {})}
    return Request(
        kind="training",
        settings={"learner": learner, "model": model, "training": resolve.plain(training), "record": record, **raised},
        inputs=inputs,
        seed=derived_seed(recipe.seed, "training", replicate),
        revision=revision,
    )


def _epochs(when: tuple[int, ...] | Literal["every", "last"], last: int) -> tuple[int, ...]:
    if when == "every":
        return tuple(range(1, last + 1))
    return (last,) if when == "last" else when
