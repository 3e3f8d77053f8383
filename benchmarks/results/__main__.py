"""Run the experiments behind docs/results.md, and write each row as it ends.

    python -m benchmarks.results learners --data $TAMIS_DATA --store results-store [--only NAME ...] [--processes 2]

Every training and evaluation is an artifact of the store: what was finished before is not done again,
and what was interrupted carries on from its checkpoint.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results.arms import finished_arms
from benchmarks.results.document import with_section
from benchmarks.results.experiments import GPU, LEARNERS, Experiment
from flows.config import Recipe
from flows.plan import plan_run
from flows.side_by_side import Work, run_side_by_side
from flows.step import Step, run_step, show_nothing
from storage.store import Store

TABLES = {"learners": LEARNERS, "gpu": GPU}
WAITED_FOR = ("train_learner", "evaluate_learner")
"""Modules of the steps that run side by side; what comes before them is a matter of seconds."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets' Parquet files")
    parser.add_argument("--store", required=True, help="where artifacts are kept")
    parser.add_argument("--only", nargs="+", help="names of experiments; else all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--document", type=Path, default=Path("docs/results.md"))
    chosen = parser.parse_args(arguments)
    names = [one.name for one in TABLES[chosen.table]]
    for name in chosen.only or []:
        if name not in names:
            parser.error(f"--only must be of {', '.join(names)}, got {name!r}")
    experiments = [one for one in TABLES[chosen.table] if chosen.only is None or one.name in chosen.only]
    store = Store.create(chosen.store)
    recipes = [one.loaded(chosen.data, Path(f"{chosen.store}-data")) for one in experiments]
    for experiment, recipe in zip(experiments, recipes, strict=True):
        for step in prepared(store, recipe):
            say(f"{experiment.name}: {step.title}")
    pairs = list(zip(experiments, recipes, strict=True))
    write(store, pairs, chosen.document)
    for step in run_side_by_side(store, works(store, recipes), chosen.processes, show_nothing):
        say(f"{step.title}, {store.record(step.id).seconds:.0f} s")
        if step.module == "evaluate_learner":
            write(store, [pair for pair in pairs if step.id in ids(store, pair[1])], chosen.document)


def prepared(store: Store, recipe: Recipe) -> list[Step]:
    """Make the data set of a recipe; the steps that did."""
    plan = plan_run(recipe, store)
    steps = [step for step in plan.steps if step.request.kind == "dataset" and not store.has(step.id)]
    for step in steps:
        run_step(store, step, recipe.to_json(), show_nothing)
    return steps


def works(store: Store, recipes: Sequence[Recipe]) -> list[Work]:
    """Trainings and evaluations of all recipes, each evaluation right after its training."""
    return [
        Work(step=step, recipe=None)
        for recipe in recipes
        for step in plan_run(recipe, store).steps
        if step.module in WAITED_FOR
    ]


def write(store: Store, pairs: Sequence[tuple[Experiment, Recipe]], document: Path) -> None:
    """Put the rows of finished arms into the document; prose outside the sections is kept."""
    text = document.read_text(encoding="utf-8")
    for experiment, recipe in pairs:
        arms = finished_arms(store, recipe)
        if arms and arms[0].config == recipe.arms[0]:
            text = with_section(text, experiment.name, experiment.title, experiment.table(arms), recipe)
    document.write_text(text, encoding="utf-8")


def ids(store: Store, recipe: Recipe) -> set[str]:
    """Ids of everything that a recipe makes."""
    return {step.id for step in plan_run(recipe, store).steps}


def say(line: str) -> None:
    """A line with the time."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


if __name__ == "__main__":
    main()
