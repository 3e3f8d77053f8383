"""Plan: from a recipe to the steps that make its artifacts, in order, with every id known before the work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flows import resolve
from flows.config import LearnerConfig, Recipe, build, check_score_names
from flows.ingest_examples import source_hints, source_settings
from flows.seeding import derived_seed
from flows.step import Step
from storage.artifacts import Request
from storage.errors import NotFoundError
from storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of one run; the last one makes the report."""

    recipe: Recipe
    steps: tuple[Step, ...]

    @property
    def report(self) -> Step:
        """The step whose artifact is the run's report."""
        return self.steps[-1]


class _Planner:
    """Collects steps; every method adds what it needs and returns ids."""

    def __init__(self, recipe: Recipe, store: Store) -> None:
        self.recipe = recipe
        self.store = store
        self.steps: list[Step] = []

    def add(self, module: str, title: str, request: Request, **further: Any) -> str:
        """Add a step unless an equal one is there; the artifact's id."""
        if all(step.id != request.id for step in self.steps):
            self.steps.append(Step(title=title, module=module, request=request, **further))
        return request.id

    def dataset(self) -> str:
        """Ingest, then sample and plant noise where the recipe says so; the last one bears the name."""
        recipe = self.recipe
        requests = [("ingest_examples", f"ingest {recipe.source.location}", ingest_request(recipe, self.store))]
        if recipe.limit is not None:
            requests.append(
                (
                    "sample_examples",
                    f"draw {recipe.limit} training examples",
                    Request(
                        kind="dataset",
                        settings={"limit": recipe.limit},
                        inputs={"dataset": requests[-1][2].id},
                        seed=derived_seed(recipe.seed, "limit"),
                    ),
                )
            )
        if recipe.noise is not None:
            kind = resolve.noise(recipe.noise, "noise")
            settings = {"noise": {"method": recipe.noise["method"], **resolve.plain(kind)}}
            seed = derived_seed(recipe.seed, "noise")
            inputs = {"dataset": requests[-1][2].id}
            request = Request(kind="dataset", settings=settings, inputs=inputs, seed=seed)
            requests.append(("plant_noise", "plant wrong labels", request))
        for number, (module, title, request) in enumerate(requests, start=1):
            publish = ("dataset", recipe.name) if number == len(requests) else None
            self.add(module, title, request, publish=publish, hints=source_hints(recipe.source))
        return requests[-1][2].id

    def training(self, name: str, dataset: str, replicate: int, selection: str | None) -> str:
        """One seed of one learner, on everything or on a selection."""
        recipe, config = self.recipe, self.recipe.learners[name]
        where = "the subset" if selection else "everything"
        request = training_request(
            recipe, config, where=f"learners.{name}", dataset=dataset, replicate=replicate, selection=selection
        )
        title = f"train {name} on {where}, seed {replicate + 1} of {recipe.seeds}"
        return self.add("train_learner", title, request)

    def scores(self, dataset: str) -> dict[str, str]:
        """Every scorer of the recipe, and the data set's score columns side by side."""
        recipe = self.recipe
        columns: dict[str, str] = {}
        for name, config in recipe.scorers.items():
            settings, revision = resolve.described(
                "scorer", {"method": config.method, **config.settings}, f"scorers.{name}"
            )
            inputs = {"dataset": dataset}
            for replicate in range(recipe.seeds):
                inputs[f"signals.{replicate:03d}"] = self.training(config.signals, dataset, replicate, None)
            request = Request(kind="scores", settings={"scorer": settings}, inputs=inputs, revision=revision)
            columns[name] = self.add("score_examples", f"score {name}", request)
        if columns:
            shown = {**earlier_columns(self.store, recipe.name, dataset, columns), **columns}
            inputs = {"dataset": dataset, **{f"score.{name}": one for name, one in shown.items()}}
            request = Request(kind="scored", settings={"columns": shown}, inputs=inputs)
            self.add("assemble_scores", "assemble scores", request, publish=("scored", recipe.name))
        return columns

    def selection(self, dataset: str, columns: Mapping[str, str]) -> str | None:
        """The recipe's selection over the scores that its selector reads."""
        recipe, config = self.recipe, self.recipe.selection
        if config is None:
            return None
        given = {"method": config.method, **config.settings}
        selector = resolve.method("selector", given, "selection")
        settings, revision = resolve.described("selector", given, "selection")
        inputs = {"dataset": dataset}
        for name in selector.reads:
            if name not in columns:
                raise ValueError(
                    f"selection reads the score {name!r}; the recipe's scorers are {', '.join(columns) or 'none'}"
                )
            inputs[f"score.{name}"] = columns[name]
        request = Request(
            kind="selection",
            settings={"selector": settings},
            inputs=inputs,
            seed=derived_seed(recipe.seed, "selection"),
            revision=revision,
        )
        return self.add("select_examples", f"select {config.subset}", request, publish=("subset", config.subset))

    def report(self, dataset: str, columns: Mapping[str, str], selection: str | None) -> str:
        """Train and evaluate every arm, then compare."""
        recipe = self.recipe
        inputs = {"dataset": dataset, **{f"score.{name}": one for name, one in columns.items()}}
        if selection:
            inputs["selection"] = selection
        for place, arm in enumerate(recipe.arms):
            for replicate in range(recipe.seeds):
                chosen = selection if arm.data == "subset" else None
                training = self.training(arm.learner, dataset, replicate, chosen)
                request = evaluation_request(recipe.learners[arm.learner], dataset, training, arm.data)
                role = f"{place:03d}.{replicate:03d}"
                inputs[f"training.{role}"] = training
                title = f"evaluate {arm.title}, seed {replicate + 1} of {recipe.seeds}"
                inputs[f"evaluation.{role}"] = self.add("evaluate_learner", title, request)
        settings = {
            "name": recipe.name,
            "arms": [{"learner": arm.learner, "data": arm.data, "title": arm.title} for arm in recipe.arms],
            "subset": recipe.selection.subset if recipe.selection else None,
            "scorers": {name: config.signals for name, config in recipe.scorers.items()},
        }
        return self.add("compare_subsets", "compare", Request(kind="report", settings=settings, inputs=inputs))


def plan_run(recipe: Recipe, store: Store) -> Plan:
    """All steps of a recipe. Nothing is computed but the hash of the source.

    Raises:
        ValueError: a method or setting of the recipe does not exist or is not allowed.
        SourceError: the source is missing or of an unknown format.
    """
    planner = _Planner(recipe, store)
    for name, config in recipe.learners.items():
        training_request(recipe, config, where=f"learners.{name}", dataset="", replicate=0, selection=None)
    _check_recorded(recipe)
    dataset = planner.dataset()
    columns = planner.scores(dataset)
    selection = planner.selection(dataset, columns)
    planner.report(dataset, columns, selection)
    return Plan(recipe=recipe, steps=tuple(planner.steps))


def _check_recorded(recipe: Recipe) -> None:
    """Refuse scorers that read what their learner will not have recorded, before anything is trained."""
    for name, config in recipe.scorers.items():
        scorer = resolve.method("scorer", {"method": config.method, **config.settings}, f"scorers.{name}")
        record = recipe.learners[config.signals].record
        needed = [signal for signal in scorer.reads if signal != "label"]
        for signal in needed:
            if signal not in record:
                raise ValueError(
                    f"scorers.{name} reads the signal {signal!r}, which learners.{config.signals}.record "
                    f"does not name; it has {', '.join(record) or 'none'}"
                )
            epoch, when = getattr(scorer, "epoch", None), record[signal]
            if epoch is not None and not isinstance(when, str) and epoch not in when:
                raise ValueError(
                    f"scorers.{name} reads {signal!r} at epoch {epoch}, but learners.{config.signals}.record has "
                    f"{', '.join(map(str, when))}"
                )


def ingest_request(recipe: Recipe, store: Store) -> Request:
    """The data set as the source has it: identified by the source's content, not by its place."""
    return Request(
        kind="dataset",
        settings={
            "name": recipe.name,
            "source": source_settings(recipe.source, store.files),
            "columns": resolve.plain(recipe.columns),
            "splits": resolve.plain(recipe.splits),
            "contract": resolve.plain(recipe.contract),
        },
        seed=derived_seed(recipe.seed, "splits"),
    )


def training_request(
    recipe: Recipe, config: LearnerConfig, *, where: str, dataset: str, replicate: int, selection: str | None
) -> Request:
    """One training; signals are recorded only where it sees everything, for there every example has them."""
    from learners.training import Training

    learner, revision = resolve.described("learner", {"method": config.method, **config.settings}, where)
    model, _ = resolve.described("model", recipe.model, "model")
    training = build(Training, {**recipe.training, **config.training}, "training")
    record = {} if selection else {name: list(_epochs(when, training.epochs)) for name, when in config.record.items()}
    inputs = {"dataset": dataset, **({"selection": selection} if selection else {})}
    return Request(
        kind="training",
        settings={"learner": learner, "model": model, "training": resolve.plain(training), "record": record},
        inputs=inputs,
        seed=derived_seed(recipe.seed, "training", replicate),
        revision=revision,
    )


def evaluation_request(config: LearnerConfig, dataset: str, training: str, data: str) -> Request:
    """A model's predictions and metrics on the test split."""
    learner, revision = resolve.described("learner", {"method": config.method, **config.settings}, "learner")
    return Request(
        kind="evaluation",
        settings={"learner": learner, "data": data, "split": "test"},
        inputs={"dataset": dataset, "training": training},
        revision=revision,
    )


def earlier_columns(store: Store, name: str, dataset: str, columns: Collection[str]) -> dict[str, str]:
    """Score columns that the newest `scored` version has for this very data set, where they fit beside new ones."""
    try:
        newest = store.record(store.version("scored", name).artifact)
    except NotFoundError:
        return {}
    kept: dict[str, str] = {}
    if newest.meta["dataset"] == dataset:
        for column, artifact in newest.meta["columns"].items():
            try:
                check_score_names((*(set(columns) | set(kept)) - {column}, column))
            except ValueError:
                continue
            kept[column] = artifact
    return kept


def _epochs(when: tuple[int, ...] | Literal["every", "last"], last: int) -> tuple[int, ...]:
    if when == "every":
        return tuple(range(1, last + 1))
    return (last,) if when == "last" else when
