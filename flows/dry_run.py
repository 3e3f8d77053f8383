"""Dry run: what a recipe's selection would keep, counted from what the store has already; nothing is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.config import Recipe
from flows.plan import plan_run
from flows.select_examples import selected
from flows.step import Step
from storage.dataset import Dataset
from storage.store import Store
from storage.values import Selection

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class DryRun:
    """What is known of a selection before its run."""

    step: Step
    """The step that would make the selection."""
    missing: tuple[Step, ...]
    """Steps that would have to be done before the selection can be known; then there are no counts."""
    version: str
    """The version that it is, or would become, such as `digits-clean@2`."""
    published: bool
    """Whether it is that version already."""
    reasons: tuple[Row, ...] = ()
    """A row a reason, that of most examples first: kept, dropped."""
    classes: tuple[Row, ...] = ()
    """A row a class: kept, dropped, relabelled."""
    groups: tuple[Row, ...] = ()
    """A row a group: kept, dropped, relabelled."""

    @property
    def sentence(self) -> str:
        """What the run would do."""
        if self.published:
            return f"The store has this selection already, as {self.version}."
        if self.missing:
            titles = "; ".join(step.title for step in self.missing)
            return (
                f"What {self.version} would keep is not known yet: {len(self.missing)} artifacts have to be computed "
                f"first ({titles})."
            )
        return f"A run would publish this as {self.version}."


def foreseen(store: Store, recipe: Recipe) -> DryRun:
    """Plan a run, and select in memory where everything that the selection reads is there.

    Raises:
        ValueError: the recipe has no selection, or a setting is not allowed.
    """
    if recipe.selection is None:
        raise ValueError("the recipe has no [selection], so there is nothing to count")
    steps = plan_run(recipe, store).steps
    (step,) = [one for one in steps if one.module == "select_examples"]
    version, published = _version(store, recipe.selection.subset, step.id)
    before = _behind(step, steps)
    missing = tuple(one for one in before if not store.has(one.id))
    found = DryRun(step=step, missing=() if store.has(step.id) else missing, version=version, published=published)
    if found.missing:
        return found
    selection = store.selection(step.id) if store.has(step.id) else selected(store, step.request)
    dataset = store.dataset(step.request.inputs["dataset"])
    return DryRun(
        step=step,
        missing=(),
        version=version,
        published=published,
        reasons=tuple(_by_reason(selection)),
        classes=tuple(_by_category("class", selection, dataset, dataset.labels("train"), dataset.schema.classes)),
        groups=tuple(_by_category("group", selection, dataset, dataset.groups("train"), dataset.schema.groups)),
    )


def print_dry_run(found: DryRun, console: "Console") -> None:
    """The counts as tables, and what a run would do."""
    from flows.report.terminal import print_rows

    print_rows(f"Selection {found.version}", found.reasons, console)
    print_rows("By given class", found.classes, console)
    print_rows("By group", found.groups, console)
    console.print(found.sentence, highlight=False)


def _version(store: Store, name: str, selection: str) -> tuple[str, bool]:
    if name not in store.names("subset"):
        return f"{name}@1", False
    newest = store.version("subset", name)
    if newest.artifact == selection:
        return str(newest), True
    return f"{name}@{newest.number + 1}", False


def _behind(step: Step, steps: tuple[Step, ...]) -> list[Step]:
    """The steps whose artifacts a step reads, and those they read, in order."""
    wanted = set(step.request.inputs.values())
    found: list[Step] = []
    for one in reversed(steps):
        if one.id in wanted:
            wanted |= set(one.request.inputs.values())
            found.insert(0, one)
    return found


def _by_reason(selection: Selection) -> Iterator[Row]:
    texts = selection.reasons.astype(str)
    for reason, count in selection.counts():
        kept = int((selection.kept & (texts == reason)).sum())
        yield {"reason": reason, "kept": str(kept), "dropped": str(count - kept)}


def _by_category(
    title: str, selection: Selection, dataset: Dataset, codes: NDArray[np.int64] | None, names: tuple[str, ...]
) -> Iterator[Row]:
    """One row for each given class or group; `codes` (N,) are positions in `names`, -1 where there is none."""
    if codes is None:
        return
    given = dataset.labels("train")
    changed = np.zeros(len(selection), dtype=np.bool_)
    if selection.labels is not None and given is not None:
        changed = selection.labels != given
    for code, name in [*enumerate(names), *([(-1, "none")] if (codes < 0).any() else [])]:
        own = codes == code
        yield {
            title: name,
            "kept": str(int((own & selection.kept).sum())),
            "dropped": str(int((own & ~selection.kept).sum())),
            "relabelled": str(int((own & changed).sum())),
        }
