"""Two tables over all sets of `noise_found`: which default was chosen and by what, and the default beside cleanlab."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.results.noise_found import (
    CANDIDATES,
    FoundSet,
    NoiseExperiment,
    against_cleanlab,
    candidate_auroc,
    chosen_default,
    highest,
    titled,
)
from benchmarks.results.tables import Row, interval
from curation.agreement import auroc
from flows.config import Recipe
from storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A table over several sets."""

    name: str
    title: str
    sets: tuple[NoiseExperiment, ...]
    target: str = "curation"

    def recipes(self, data: Path, folder: Path) -> list[Recipe]:
        """Those of the sets."""
        return [one.loaded(data, folder) for one in self.sets]

    def waits_for(self, module: str) -> bool:
        """Whether steps of this module are done for the table."""
        return self.sets[0].waits_for(module)

    def shows(self, module: str) -> bool:
        """Whether the table may have another row once a step of this module has ended."""
        return self.sets[0].shows(module)

    def note(self, store: Store, recipes: Sequence[Recipe]) -> str:
        """Nothing."""
        return ""


@dataclass(frozen=True, kw_only=True)
class DefaultChoice(Summary):
    """A row a candidate: its AUROC on the sets on which the default is chosen."""

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """The candidates, once all sets have ended; the chosen one in bold."""
        found = [FoundSet.of(store, recipe) for recipe in recipes]
        if not all(one.is_complete for one in found):
            return []
        aurocs = {names: [candidate_auroc(one, names) for one in found] for names in CANDIDATES}
        chosen = highest(aurocs)
        rows = []
        for names, values in aurocs.items():
            sets = {one.title: f"{value:.4f}" for one, value in zip(self.sets, values, strict=True)}
            title = f"**{titled(names)}**" if names == chosen else titled(names)
            rows.append({"candidate": title, **sets, "mean": f"{np.mean(values):.4f}"})
        return rows


@dataclass(frozen=True, kw_only=True)
class BesideCleanlab(Summary):
    """A row a set: the default, cleanlab's default and the difference."""

    def recipes(self, data: Path, folder: Path) -> list[Recipe]:
        """Those of the sets, and then those that the default is chosen by."""
        return [one.loaded(data, folder) for one in (*self.sets, *self.sets[0].development)]

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """The sets that have ended."""
        default = chosen_default(store, recipes[len(self.sets) :])
        rows = []
        for one, recipe in zip(self.sets, recipes, strict=False):
            found = FoundSet.of(store, recipe)
            sides = against_cleanlab(found, default)
            if sides is not None:
                ours, peer, less = sides
                rows.append(
                    {
                        "set": one.title,
                        f"default: {ours.title}": f"{auroc(ours.suspicion, found.wrong):.4f}",
                        peer.title: f"{auroc(peer.suspicion, found.wrong):.4f}",
                        "difference": interval(less, 1, 4),
                    }
                )
        return rows
