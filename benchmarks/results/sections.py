"""Section: one table of the document, the recipes behind it, and which of their steps it waits for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.results.planned import planned
from benchmarks.results.tables import Row
from flows.config import Recipe
from flows.side_by_side import Work
from flows.step import Step
from storage.store import Store


class Section(Protocol):
    """A table that is written again whenever one of its rows has ended."""

    @property
    def name(self) -> str:
        """Of the table, as `ONLY` takes it."""
        ...

    @property
    def title(self) -> str:
        """Heading above the table where the document has none."""
        ...

    @property
    def target(self) -> str:
        """The tables that it is one of, as `python -m benchmarks.results` takes them."""
        ...

    def recipes(self, data: Path, folder: Path) -> list[Recipe]:
        """The recipes with their sources in place; the first one tells the seeds."""
        ...

    def waits_for(self, module: str) -> bool:
        """Whether steps of this module are done for the table."""
        ...

    def shows(self, module: str) -> bool:
        """Whether the table may have another row once a step of this module has ended."""
        ...

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """Rows of what has ended; none as long as there is nothing to compare with."""
        ...

    def note(self, store: Store, recipes: Sequence[Recipe]) -> str:
        """A sentence under the table; empty for none."""
        ...


def works(store: Store, sections: Sequence[tuple[Section, Sequence[Recipe]]]) -> list[Work]:
    """What is to be done for all sections, recipe by recipe; a step of several recipes once."""
    found: dict[str, Work] = {}
    for section, recipes in sections:
        for recipe in recipes:
            for step in planned(store, recipe).steps:
                if section.waits_for(step.module) and step.request.kind != "dataset":
                    found.setdefault(step.id, Work(step=step, recipe=recipe.to_json() if step.publish else None))
    return list(found.values())


def dataset_steps(store: Store, recipe: Recipe) -> list[Step]:
    """Steps that make a recipe's data set and have not been done."""
    steps = planned(store, recipe).steps
    return [step for step in steps if step.request.kind == "dataset" and not store.has(step.id)]


def ids(store: Store, recipes: Sequence[Recipe]) -> set[str]:
    """Ids of everything that recipes make."""
    return {step.id for recipe in recipes for step in planned(store, recipe).steps}
