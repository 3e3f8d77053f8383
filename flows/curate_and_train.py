"""The main job: run a recipe's plan, in this process or as a Prefect flow, and do nothing twice.

Before anything heavy is imported, the store is asked whether the same run has ended before.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from flows.config import Recipe
from flows.own_code import module_source
from flows.step import Show, Step, is_done, run_step
from storage.artifacts import canonical_json
from storage.ingest.source import fingerprint
from storage.store import Store

RunStep = Callable[[Store, Step, Mapping[str, Any] | None, Show], str]
PACKAGES = ("storage", "curation", "learners", "flows")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    report: str
    """Id of the report artifact."""
    computed: int
    """Artifacts that this run made."""
    reused: int
    """Artifacts that were there already."""


def finished_before(store: Store, recipe: Recipe) -> Outcome | None:
    """The outcome of an earlier run of this very recipe on this very source, if all it made is still there.

    Needs neither torch nor Prefect. A change in any of tamis' own files counts as another run,
    which then finds out artifact by artifact what can be reused.
    """
    note = store.remembered("runs", run_key(store, recipe))
    if note is None or not all(store.has(one) for one in note["artifacts"]):
        return None
    for kind, name, artifact in note["published"]:
        if name not in store.names(kind) or store.version(kind, name).artifact != artifact:
            return None
    return Outcome(report=note["report"], computed=0, reused=len(note["artifacts"]))


def curate_and_train(
    store: Store, recipe: Recipe, show: Show, run: RunStep = run_step, *, processes: int = 1
) -> Outcome:
    """Run all steps of a recipe in order, skipping what exists, publish the catalogue and remember the run.

    Args:
        store: where artifacts are.
        recipe: what to run.
        show: told of all progress.
        run: makes and publishes one artifact; a Prefect flow passes its task here.
        processes: in how many processes steps run side by side, at least 1; with 1 they run in this one.
    """
    from flows.plan import plan_run

    plan, made = plan_run(recipe, store), set[str]()
    while plan.unsettled:
        made |= _make(store, recipe, plan.steps[: plan.unsettled], show, run, processes)
        plan = plan_run(recipe, store)
    made |= _make(store, recipe, plan.steps, show, run, processes)
    computed = sum(step.id in made for step in plan.steps)
    note: dict[str, Any] = {
        "report": plan.report.id,
        "artifacts": [step.id for step in plan.steps],
        "published": [[*step.publish, step.id] for step in plan.steps if step.publish],
    }
    if plan.grown is not None:
        note["published"].append(["dataset", recipe.name, plan.grown])
    store.publish_catalog()
    store.remember("runs", run_key(store, recipe), note)
    return Outcome(report=plan.report.id, computed=computed, reused=len(plan.steps) - computed)


def _make(store: Store, recipe: Recipe, steps: Sequence[Step], show: Show, run: RunStep, processes: int) -> set[str]:
    """Make and publish what these steps stand for; ids of the artifacts that were not there."""
    missing = {step.id for step in steps if not store.has(step.id)}
    if processes > 1:
        from flows.side_by_side import Work, run_side_by_side

        works = [Work(step=step, recipe=recipe.to_json()) for step in steps]
        for _ in run_side_by_side(store, works, processes, show):
            pass
    for step in steps:
        if not is_done(store, step):
            run(store, step, recipe.to_json(), show)
    return missing


def run_key(store: Store, recipe: Recipe) -> str:
    """Hash of the recipe, the content of the source, what is meant of the store, and tamis' own files."""
    digest = hashlib.sha256(canonical_json(recipe.to_json()).encode())
    digest.update("".join(_origins(store, recipe)).encode())
    for package in PACKAGES:
        folder = Path(str(resources.files(package)))
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _origins(store: Store, recipe: Recipe) -> Iterator[str]:
    """The source's fingerprint, ids of the stored data sets and signals, and the code that the recipe names."""
    if recipe.source is not None:
        yield fingerprint(recipe.source, store.files)
    embedding = recipe.embedding or {}
    mapped = embedding.get("map") if embedding.get("method") == "latent_ngrams" else None
    for named in (recipe.dataset, mapped, *(scorer.targets for scorer in recipe.scorers.values())):
        if named is not None:
            yield store.version("dataset", str(named)).artifact
    for section in recipe.signals.values():
        if section.given is not None:
            yield store.version("signals", section.given).artifact
    if recipe.model is not None and "factory" in recipe.model:
        yield hashlib.sha256(module_source(str(recipe.model["factory"])).encode()).hexdigest()
