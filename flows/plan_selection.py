"""Plan of a selection: what the recipe's rule, condition and label action are asked of."""

from collections.abc import Mapping, Sequence
from typing import Any

from flows import resolve
from flows.config import SCORE_SUFFIXES, Recipe
from flows.plan_columns import outdated_text
from flows.plan_scores import section_ids
from flows.recipe_sections import SelectionConfig
from flows.seeding import derived_seed
from storage.artifacts import Request
from storage.store import Store


def selection_request(
    recipe: Recipe,
    config: SelectionConfig,
    store: Store,
    dataset: str,
    columns: Mapping[str, str],
    trainings: Sequence[str] = (),
) -> Request:
    """What a recipe's [selection] makes of a data set and its scores.

    Args:
        recipe: whose selection it is.
        config: its [selection].
        store: where scores and signals are.
        dataset: id of the data set.
        columns: ids of all scores that there are or will be, by name. Only those that are read become inputs, so that
            a further scorer leaves the selection as it is.
        trainings: ids of the learner's trainings on everything, one a seed, where `config.signals` names a learner.

    Raises:
        ValueError: a score that is read is missing, or a setting is not allowed.
        QueryError: the condition cannot be used.
    """
    given = {"method": config.method, **config.settings}
    selector = resolve.method("selector", given, "selection")
    settings, revision = resolve.described("selector", given, "selection")
    asked: dict[str, Any] = {"selector": settings}
    read = list(selector.reads)
    if config.flagged is not None:
        asked["flagged"] = resolve.plain(config.flagged)
        read.append(config.flagged.score)
    for name in read:
        if name not in columns:
            raise ValueError(
                f"selection reads the score {name!r}; the recipe's scorers are {', '.join(columns) or 'none'}"
                f"{outdated_text(store, recipe.name, dataset, name)}"
            )
    if config.where is not None:
        asked["where"] = config.where
        read += _read_by(config.where, store, dataset, columns)
    inputs = {"dataset": dataset, **{f"score.{name}": columns[name] for name in dict.fromkeys(read)}}
    if config.signals is not None and config.signals in recipe.learners:
        if "embedding" not in recipe.learners[config.signals].record:
            raise ValueError(
                f"selection.signals names the learner {config.signals!r}, whose embedding is not recorded; add "
                f'embedding = "last" to learners.{config.signals}.record'
            )
        inputs |= {f"signals.{seed:03d}": one for seed, one in enumerate(trainings)}
    elif config.signals is not None:
        inputs["signals.000"] = next(section_ids(recipe, store, config.signals, dataset))
        names = recipe.signals[config.signals].names
        asked |= {"names": dict(names)} if names else {}
    return Request(
        kind="selection",
        settings=asked,
        inputs=inputs,
        seed=derived_seed(recipe.seed, "selection"),
        revision=revision,
    )


def _read_by(where: str, store: Store, dataset: str, columns: Mapping[str, str]) -> list[str]:
    """The scores whose columns a condition reads; where the data set is there already, its other columns are checked.

    Raises:
        QueryError: it is not one expression, or reads a column that there is not.
    """
    from storage.condition import check_columns, parse_condition

    condition = parse_condition(where)
    if store.has(dataset):
        own = ["example_id", "split", "label", "group", *store.dataset(dataset).schema.metadata]
        further = [f"{name}_{suffix}" for name in columns for suffix in SCORE_SUFFIXES]
        check_columns(condition, [*own, *columns, *further])
    return [name for name in columns if condition.score_columns(name, SCORE_SUFFIXES)]
