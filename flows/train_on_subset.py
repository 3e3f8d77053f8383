"""Training by hand on a published subset: the steps of `tamis train`, and their result as rows."""

from collections.abc import Sequence
from dataclasses import replace

from flows import resolve
from flows.config import Recipe, apply_overrides, parse_recipe
from flows.plan_training import evaluation_request, training_request
from flows.recipe_sections import LearnerConfig
from flows.report.tables import Row, with_error
from flows.step import Step
from learners.evaluate import mean_and_standard_error
from storage.store import Store


def plan_training(store: Store, reference: str, learner: str, seeds: int, overrides: Sequence[str]) -> list[Step]:
    """Steps that train and evaluate a learner on a subset, with the recipe that made the subset.

    Args:
        store: where the subset is.
        reference: the subset's version.
        learner: a learner of that recipe, or a method's name with its own defaults.
        seeds: trainings, one per seed.
        overrides: `key.path=value` changes to the recipe.

    Raises:
        NotFoundError: there is no such version.
        ValueError: the subset has no recipe, or there is no such learner.
    """
    version = store.version("subset", reference)
    if version.recipe is None:
        raise ValueError(f"{version} was published without a recipe, so there is no model to train")
    recipe = replace(parse_recipe(apply_overrides(version.recipe, overrides)), seeds=seeds)
    config = _learner(recipe, learner)
    dataset = store.record(version.artifact).request.inputs["dataset"]
    steps = []
    for replicate in range(seeds):
        training = training_request(
            recipe,
            config,
            where=f"learners.{learner}",
            dataset=dataset,
            replicate=replicate,
            selection=version.artifact,
        )
        number = f"seed {replicate + 1} of {seeds}"
        steps.append(Step(title=f"train {learner} on {version}, {number}", module="train_learner", request=training))
        evaluation = evaluation_request(recipe, config, dataset=dataset, training=training.id, data="subset")
        steps.append(Step(title=f"evaluate {learner}, {number}", module="evaluate_learner", request=evaluation))
    return steps


def training_rows(store: Store, steps: Sequence[Step]) -> list[Row]:
    """One row a training, and their mean where there are several."""
    rows, accuracies = [], []
    for training, evaluation in zip(steps[::2], steps[1::2], strict=True):
        metrics = store.record(evaluation.id).meta["metrics"]
        accuracies.append(float(metrics["test_accuracy"]))
        best = store.record(evaluation.id).meta.get("best_metrics")
        rows.append(
            {
                "training": training.id,
                "test accuracy": with_error(accuracies[-1], None),
                "best epoch": "" if best is None else with_error(best["test_accuracy"], None),
                "worst class": with_error(metrics["worst_class_accuracy"], None),
                "seconds": f"{store.record(training.id).meta['training_seconds']:.1f}",
            }
        )
    if len(rows) > 1:
        mean, error = mean_and_standard_error(accuracies)
        rows.append(
            {
                "training": "mean ± standard error",
                "test accuracy": with_error(mean, error),
                "best epoch": "",
                "worst class": "",
                "seconds": "",
            }
        )
    return rows


def _learner(recipe: Recipe, name: str) -> LearnerConfig:
    if name in recipe.learners:
        return recipe.learners[name]
    if name in resolve.available("learner"):
        return LearnerConfig(method=name)
    raise ValueError(
        f"there is no learner {name!r}; the subset's recipe has {', '.join(recipe.learners)}, "
        f"and the methods are {', '.join(resolve.available('learner'))}"
    )
