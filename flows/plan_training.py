"""Plan of a training and of its evaluation: what one seed of one learner is asked for."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from flows import resolve
from flows.config import Recipe, build
from flows.fold_trainings import OUT_OF_FOLD
from flows.recipe_sections import LearnerConfig
from flows.seeding import derived_seed
from storage.artifacts import Request

if TYPE_CHECKING:
    from learners.training import Training

EVALUATION_REVISION = 2
"""Raised when the tables or metrics of an evaluation change."""


def training_request(
    recipe: Recipe,
    config: LearnerConfig,
    *,
    where: str,
    dataset: str,
    replicate: int,
    selection: str | None,
    fold: int | None = None,
) -> Request:
    """One training; signals are recorded only where it sees everything, for there every example has them.

    Without a fold it keeps what it says of that one's rows, and no model. No epoch is chosen by what is left out:
    it is the last one, and the validation split is read only to stop early.
    """
    from learners.training import Training

    learner, revision = resolve.described("learner", {"method": config.method, **config.settings}, where)
    model, model_revision = resolve.described("model", recipe.model or {}, "model")
    raised = {"model_revision": model_revision} if model_revision > 1 else {}
    training = build(Training, {**recipe.training, **config.training}, "training")
    if fold is not None and training.early_stop is None:
        training = replace(training, best_by="accuracy")
    if training.best_by == "robust_accuracy":
        from learners.validation import attack_of

        attack_of(resolve.method("learner", {"method": config.method, **config.settings}, where))
    recorded = {} if selection or fold is not None else config.record
    record = {name: list(recorded_epochs(when, training.epochs)) for name, when in recorded.items()}
    inputs = {"dataset": dataset, **({"selection": selection} if selection else {})}
    own: dict[str, Any] = {"steps": "own"} if selection and _takes_own_steps(recipe, training) else {}
    if fold is not None:
        own["fold"] = {"held_out": fold, "of": config.folds}
    return Request(
        kind="training",
        settings={
            "learner": learner,
            "model": model,
            "training": _asked(training),
            "record": record,
            "keeps": ["last", "best"] if fold is None else [OUT_OF_FOLD],
            **raised,
            **own,
        },
        inputs=inputs,
        seed=derived_seed(recipe.seed, "training", replicate),
        revision=revision,
    )


def _takes_own_steps(recipe: Recipe, training: "Training") -> bool:
    """Whether an epoch on the recipe's subset is a pass over it, not as long as one on everything.

    Raises:
        ValueError: the recipe asks for that and sets the steps of every epoch.
    """
    config = recipe.selection
    if config is None:
        return False
    by_rule = "own" if resolve.method_class("selector", config.method).schedules else "equal"
    if (config.steps or by_rule) != "own":
        return False
    if config.steps == "own" and training.steps_per_epoch is not None:
        raise ValueError(
            f'selection.steps = "own" has no effect with training.steps_per_epoch = {training.steps_per_epoch}; leave '
            "one of them out"
        )
    return True


def _asked(training: "Training") -> dict[str, Any]:
    """The settings, without where memories are held unless that was asked for, since numbers do not depend on it."""
    plain = resolve.plain(training)
    if training.buffers_on == "memory":
        del plain["buffers_on"]
    return plain


def evaluation_request(recipe: Recipe, config: LearnerConfig, *, dataset: str, training: str, data: str) -> Request:
    """A model's predictions and metrics on the test split, and under the recipe's attacks.

    Raises:
        ValueError: a setting of `evaluation.threat` does not exist or is not allowed.
    """
    learner, revision = resolve.described("learner", {"method": config.method, **config.settings}, "learner")
    settings = {"learner": learner, "data": data, "split": "test", "evaluation_revision": EVALUATION_REVISION}
    attacked = _attacked(recipe)
    return Request(
        kind="evaluation",
        settings={**settings, "evaluation": attacked} if attacked else settings,
        inputs={"dataset": dataset, "training": training},
        seed=derived_seed(recipe.seed, "evaluation") if attacked else None,
        revision=revision,
    )


def _attacked(recipe: Recipe) -> dict[str, Any]:
    """`[evaluation]` with every default written out; empty where nothing is attacked."""
    if not (recipe.evaluation.attacks or recipe.evaluation.best_attacks):
        return {}
    from learners.attacks import Threat

    @dataclass(frozen=True, kw_only=True)
    class _Threatened:
        threat: Threat = Threat()

    threat = build(_Threatened, {"threat": recipe.evaluation.threat}, "evaluation").threat
    return {**resolve.plain(recipe.evaluation), "threat": msgspec.to_builtins(threat)}


def recorded_epochs(when: tuple[int, ...] | Literal["every", "last"], last: int) -> tuple[int, ...]:
    """Epochs, counted from 1, at which a signal is recorded in a training of so many."""
    if when == "every":
        return tuple(range(1, last + 1))
    return (last,) if when == "last" else when
