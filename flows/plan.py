"""Plan: from a recipe to the steps that make its artifacts, in order, with every id known before the work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flows import resolve
from flows.config import Recipe, check_beside_metadata, check_score_names
from flows.embed_examples import embedding_request
from flows.ingest_examples import source_hints, source_settings
from flows.plan_columns import newest_columns
from flows.plan_packages import check_packages
from flows.plan_scores import ScorePlan, check_readable, section_steps
from flows.plan_selection import selection_request
from flows.plan_training import evaluation_request, training_request
from flows.publish_model import model_step
from flows.recipe_sections import ArmConfig
from flows.revisions import outdated
from flows.seeding import derived_seed
from flows.step import Step
from storage.artifacts import Request
from storage.growth import grown_from
from storage.ingest.source import Source
from storage.lineage import ancestry
from storage.store import Store

NOISE_REVISION = 2
"""Of planted noise: raised when other labels become wrong."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of one run; the last one makes the report."""

    recipe: Recipe
    steps: tuple[Step, ...]
    grown: str | None = None
    """Id of the data set's newest version, where that grew from what the recipe itself makes and stands for it."""
    unsettled: int = 0
    """How many of the steps, from the first, must be done before the others are known: scores among them may turn out
    to need further seeds. Then the plan is made anew."""

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
        self.grown: str | None = None
        self.unsettled = 0

    def add(self, module: str, title: str, request: Request, **further: Any) -> str:
        """Add a step unless an equal one is there; the artifact's id."""
        if all(step.id != request.id for step in self.steps):
            self.steps.append(Step(title=title, module=module, request=request, **further))
        return request.id

    def dataset(self) -> str:
        """Ingest, then sample, plant noise and embed where the recipe says so; the last one bears the name.

        Where rows were appended to that one or its labels corrected since, the name's newest version stands for it.
        """
        recipe = self.recipe
        hints: Mapping[str, Any] = {}
        requests: list[tuple[str, str, Request]] = []
        origin = "" if recipe.dataset is None else stored_dataset(recipe, recipe.dataset, self.store)
        if recipe.source is not None:
            hints = source_hints(recipe.source)
            requests.append(
                (
                    "ingest_examples",
                    f"ingest {recipe.source.location}",
                    ingest_request(recipe, recipe.source, self.store),
                )
            )
        if recipe.limit is not None:
            requests.append(
                (
                    "sample_examples",
                    f"draw {recipe.limit} training examples",
                    Request(
                        kind="dataset",
                        settings={"limit": recipe.limit},
                        inputs={"dataset": requests[-1][2].id if requests else origin},
                        seed=derived_seed(recipe.seed, "limit"),
                    ),
                )
            )
        if recipe.noise is not None:
            kind = resolve.noise(recipe.noise, "noise")
            settings = {"noise": {"method": recipe.noise["method"], **resolve.plain(kind)}}
            seed = derived_seed(recipe.seed, "noise")
            inputs = {"dataset": requests[-1][2].id if requests else origin}
            request = Request(kind="dataset", settings=settings, inputs=inputs, seed=seed, revision=NOISE_REVISION)
            requests.append(("plant_noise", "plant wrong labels", request))
        if recipe.embedding is not None:
            request = embedding_request(recipe.embedding, requests[-1][2].id if requests else origin, self.store)
            requests.append(("embed_examples", f"embed {request.settings['embedding']['column']}", request))
        if not requests:
            return origin
        self.grown = grown_version(self.store, recipe, requests[-1][2].id, origin)
        if self.grown is not None:
            return self.grown
        for number, (module, title, request) in enumerate(requests, start=1):
            publish = ("dataset", recipe.name) if number == len(requests) else None
            self.add(module, title, request, publish=publish, hints=hints)
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

    def check_metadata(self, dataset: str) -> None:
        """Refuse scorers named like metadata, as soon as the data set or what it is made from is there."""
        before = (one for step in self.steps for one in (step.id, *step.request.inputs.values()))
        stored = next((one for one in (dataset, *before) if self.store.has(one)), None)
        if stored is not None:
            check_beside_metadata(tuple(self.recipe.scorers), self.store.dataset(stored).schema.metadata)

    def scores(self, dataset: str) -> tuple[dict[str, str], dict[str, str]]:
        """Every scorer of the recipe; and with them the data set's score columns that there are already."""
        recipe = self.recipe
        self.check_metadata(dataset)
        columns: dict[str, str] = {}
        known = earlier_columns(self.store, recipe.name, dataset, list(recipe.scorers))
        others = {name: one for name, one in known.items() if name not in recipe.scorers}
        for name, config in sorted(recipe.scorers.items(), key=lambda one: one[1].signals is None):
            plan = ScorePlan(recipe=recipe, store=self.store, name=name, config=config, known={**others, **columns})
            request = plan.request(dataset)
            for step in plan.steps_before(request, dataset):
                self.add(step.module, step.title, step.request)
            columns[name] = self.add("score_examples", plan.title(dataset), request)
            if plan.is_unsettled(request):
                self.unsettled = len(self.steps)
        columns = {name: columns[name] for name in recipe.scorers}
        shown = {**known, **columns}
        if columns:
            inputs = {"dataset": dataset, **{f"score.{name}": one for name, one in shown.items()}}
            request = Request(kind="scored", settings={"columns": shown}, inputs=inputs)
            self.add("assemble_scores", "assemble scores", request, publish=("scored", recipe.name))
        return columns, shown

    def selection(self, dataset: str, columns: Mapping[str, str]) -> str | None:
        """The recipe's selection over the scores that its selector reads."""
        recipe, config = self.recipe, self.recipe.selection
        if config is None:
            return None
        trainings = []
        if config.signals is not None and config.signals in recipe.learners:
            trainings = [self.training(config.signals, dataset, one, None) for one in range(recipe.seeds)]
        elif config.signals is not None:
            for step in section_steps(recipe, config.signals, dataset):
                self.add(step.module, step.title, step.request)
        request = selection_request(recipe, config, self.store, dataset, columns, trainings)
        return self.add("select_examples", f"select {config.subset}", request, publish=("subset", config.subset))

    def rebalanced(self, dataset: str, selection: str | None) -> str | None:
        """What the selection keeps, or everything, with its classes evened out; the selection itself without that."""
        config = self.recipe.rebalance
        if config is None:
            return selection
        settings, revision = resolve.described("rebalancer", {"method": config.method, **config.settings}, "rebalance")
        request = Request(
            kind="selection",
            settings={"rebalancer": settings},
            inputs={"dataset": dataset, **({"selection": selection} if selection else {})},
            seed=derived_seed(self.recipe.seed, "rebalance"),
            revision=revision,
        )
        return self.add("rebalance_examples", f"rebalance {config.subset}", request, publish=("subset", config.subset))

    def model(self, arm: ArmConfig, training: str, evaluation: str) -> None:
        """Publish the first seed's model of an arm."""
        subset = self.recipe.subset if arm.data == "subset" else None
        step = model_step(subset or self.recipe.name, arm.learner, training, evaluation)
        if any(one.publish == step.publish and one.id != step.id for one in self.steps):
            raise ValueError(
                f"two arms would publish a model named {step.title.split()[-1]!r}; rename the subset or a learner"
            )
        self.add(step.module, step.title, step.request, publish=step.publish, hints=step.hints)

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
                request = evaluation_request(
                    recipe, recipe.learners[arm.learner], dataset=dataset, training=training, data=arm.data
                )
                role = f"{place:03d}.{replicate:03d}"
                inputs[f"training.{role}"] = training
                title = f"evaluate {arm.title}, seed {replicate + 1} of {recipe.seeds}"
                inputs[f"evaluation.{role}"] = self.add("evaluate_learner", title, request)
                if replicate == 0:
                    self.model(arm, training, request.id)
        settings = {
            "name": recipe.name,
            "arms": [{"learner": arm.learner, "data": arm.data, "title": arm.title} for arm in recipe.arms],
            "subset": recipe.subset,
            "scorers": {name: config.signals for name, config in recipe.scorers.items()},
        }
        return self.add("compare_subsets", "compare", Request(kind="report", settings=settings, inputs=inputs))


def plan_run(recipe: Recipe, store: Store) -> Plan:
    """All steps of a recipe. Nothing is computed but the hash of the source.

    Raises:
        ValueError: a method or setting of the recipe does not exist or is not allowed.
        SourceError: the source is missing or of an unknown format.
        MissingPackageError: a method needs a package that is not installed.
    """
    planner = _Planner(recipe, store)
    for name, config in recipe.learners.items():
        training_request(recipe, config, where=f"learners.{name}", dataset="", replicate=0, selection=None)
    check_readable(recipe, store)
    dataset = planner.dataset()
    columns, shown = planner.scores(dataset)
    selection = planner.rebalanced(dataset, planner.selection(dataset, shown))
    planner.report(dataset, columns, selection)
    check_packages(planner.steps, store)
    return Plan(recipe=recipe, steps=tuple(planner.steps), grown=planner.grown, unsettled=planner.unsettled)


def stored_dataset(recipe: Recipe, reference: str, store: Store) -> str:
    """Id of the stored data set that a recipe names instead of a source.

    Raises:
        NotFoundError: there is no such version.
        ValueError: the recipe calls it by another name without making another of it, or it lacks labels.
    """
    version = store.version("dataset", reference)
    if recipe.embedding is not None and recipe.name == version.name:
        raise ValueError(f"name must not be {version.name!r}: the embedded data set needs a name of its own")
    is_same = recipe.noise is None and recipe.limit is None and recipe.embedding is None
    if is_same and recipe.name != version.name:
        raise ValueError(f"name must be {version.name!r}, the stored data set's own, got {recipe.name!r}")
    if recipe.learners and not store.dataset(version.artifact).schema.classes:
        raise ValueError(f"the learners {', '.join(recipe.learners)} need labels, and {version} has none")
    return version.artifact


def grown_version(store: Store, recipe: Recipe, dataset: str, origin: str) -> str | None:
    """Id of a name's newest version, if it grew by appended rows or corrected labels from what is planned.

    Args:
        store: where the versions are.
        recipe: whose name it is.
        dataset: id of the data set that the recipe makes.
        origin: id of the stored data set that it is made from; empty where that is a source.

    Raises:
        ValueError: it grew from something else, so those rows and labels would be missing from then on.
    """
    if recipe.name not in store.names("dataset"):
        return None
    newest = store.version("dataset", recipe.name)
    ancestors = [one.record.id for one in grown_from(store.artifacts, newest.artifact)]
    if dataset in ancestors:
        return newest.artifact
    kept = bool(origin) and newest.artifact in (one.id for one in ancestry(store.artifacts, origin))
    if not ancestors or kept:
        return None
    origins = {
        "[source]": recipe.source,
        "[noise]": recipe.noise,
        "limit": recipe.limit,
        "[embedding]": recipe.embedding,
    }
    given = ", ".join(key for key, value in origins.items() if value is not None)
    raise ValueError(
        f"{newest} has rows or labels that were put in by hand and would be lost: the recipe now makes {dataset}, from "
        f"which {newest} did not grow; to stay on {newest}, bring new rows with `tamis ingest --append` and write "
        f'dataset = "{recipe.name}" in place of {given}, or else give the recipe another name'
    )


def ingest_request(recipe: Recipe, source: Source, store: Store) -> Request:
    """The data set as the source has it: identified by the source's content, not by its place."""
    return Request(
        kind="dataset",
        settings={
            "name": recipe.name,
            "source": source_settings(source, store.files),
            "columns": resolve.plain(recipe.columns),
            "splits": resolve.plain(recipe.splits),
            "contract": resolve.plain(recipe.contract),
        },
        seed=derived_seed(recipe.seed, "splits"),
    )


def earlier_columns(store: Store, name: str, dataset: str, columns: Collection[str]) -> dict[str, str]:
    """Score columns that the newest `scored` version has for this very data set and that can stand beside new ones.

    Those fit beside the new ones and the data set's metadata, and the methods behind them are of today's revision.
    """
    kept: dict[str, str] = {}
    for column, artifact in newest_columns(store, name, dataset).items():
        try:
            check_score_names((*(set(columns) | set(kept)) - {column}, column))
            check_beside_metadata((column,), store.dataset(dataset).schema.metadata)
        except ValueError:
            continue
        if outdated(store, artifact) is None:
            kept[column] = artifact
    return kept
