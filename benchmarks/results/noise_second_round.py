"""A second round of the choice of a noise score, on sets that the first has opened, and its test on sets never opened.

The rule, written down before anything was trained on the fresh sets: of the candidates that on no opened set lie more
than `ALLOWED` of AUROC below cleanlab's default, and on most of these sets above it, the one of the highest mean AUROC.

A choice that reads folds besides other trainings reads more of these than cleanlab does. The same with the folds of its
first seed alone is shown beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.results.auroc_draws import auroc_difference
from benchmarks.results.noise_found import (
    CANDIDATES,
    OUT_OF_FOLD,
    Finding,
    FoundSet,
    Names,
    NoiseExperiment,
    against_cleanlab,
    candidate_auroc,
    titled,
)
from benchmarks.results.noise_summary import Summary
from benchmarks.results.tables import Row, interval
from curation.agreement import auroc
from flows.config import Recipe
from storage.store import Store

ALLOWED = 0.01
"""How far below cleanlab's default a candidate may be on a set."""


@dataclass(frozen=True, kw_only=True)
class SecondChoice(Summary):
    """A row a candidate: its AUROC less that of cleanlab's default on every opened set."""

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """The candidates, once all sets have ended; the chosen one in bold."""
        standings = standings_of(store, recipes)
        if standings is None:
            return []
        chosen = passing(standings)
        rows = []
        for names, one in standings.items():
            title = f"**{titled(names)}**" if names == chosen else titled(names)
            less = zip(self.sets, one.less, strict=True)
            rows.append(
                {
                    "candidate": title,
                    **{experiment.title: f"{value:+.4f}" for experiment, value in less},
                    "mean AUROC": f"{np.mean(one.aurocs):.4f}",
                }
            )
        if chosen is not None and OUT_OF_FOLD in chosen:
            found = [FoundSet.of(store, recipe) for recipe in recipes]
            less = [one_seed(one, chosen, one.peers()[0], alone=True) for one in found]
            titles = (experiment.title for experiment in self.sets)
            title = "the chosen one with the folds of one seed"
            rows.append({"candidate": title, **dict(zip(titles, less, strict=True)), "mean AUROC": ""})
        return rows


@dataclass(frozen=True, kw_only=True)
class FreshSets(Summary):
    """A row a set that took no part in either choice: the second round's choice and the first's beside cleanlab."""

    opened: tuple[NoiseExperiment, ...]
    """The sets that the second round chose by."""
    first: Names
    """The first round's choice."""

    def recipes(self, data: Path, folder: Path) -> list[Recipe]:
        """Those of the sets, and then those that were opened."""
        return [one.loaded(data, folder) for one in (*self.sets, *self.opened)]

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """The sets that have ended; none where the second round chose nothing."""
        standings = standings_of(store, recipes[len(self.sets) :])
        second = None if standings is None else passing(standings)
        rows = []
        for one, recipe in zip(self.sets, recipes, strict=False):
            found = FoundSet.of(store, recipe)
            sides, before = against_cleanlab(found, second), against_cleanlab(found, self.first)
            if sides is None or before is None:
                continue
            ours, peer, less = sides
            rows.append(
                {
                    "set": one.title,
                    ours.title: f"{auroc(ours.suspicion, found.wrong):.4f}",
                    peer.title: f"{auroc(peer.suspicion, found.wrong):.4f}",
                    "difference": interval(less, 1, 4),
                    "with the folds of one seed": one_seed(found, second, peer),
                    f"first default, {titled(self.first)}, less cleanlab": interval(before[2], 1, 4),
                }
            )
        return rows


def one_seed(found: FoundSet, names: Names | None, peer: Finding, *, alone: bool = False) -> str:
    """What a choice with the folds of its first seed alone has beyond cleanlab, which has those of all seeds.

    Args:
        found: the set.
        names: the choice; None for nothing.
        peer: cleanlab's finding.
        alone: whether to leave out the interval.
    """
    suspicion = None if names is None else found.combined_by_one(names)
    if suspicion is None:
        return ""
    if alone:
        return f"{auroc(suspicion, found.wrong) - auroc(peer.suspicion, found.wrong):+.4f}"
    return interval(auroc_difference(suspicion, peer.suspicion, found.wrong), 1, 4)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A candidate on the opened sets."""

    aurocs: tuple[float, ...]
    less: tuple[float, ...]
    """AUROC less that of cleanlab's default."""

    @property
    def passes(self) -> bool:
        """Whether it is not below cleanlab by more than is allowed on any set, and above it on most."""
        return min(self.less) >= -ALLOWED and sum(value > 0 for value in self.less) > len(self.less) / 2


def standings_of(store: Store, recipes: Sequence[Recipe]) -> dict[Names, Standing] | None:
    """Every candidate on sets that have ended; None until all have, and where cleanlab is not installed."""
    found = [FoundSet.of(store, recipe) for recipe in recipes]
    if not all(one.is_complete and one.peers() for one in found):
        return None
    peers = [auroc(one.peers()[0].suspicion, one.wrong) for one in found]
    standings = {}
    for names in CANDIDATES:
        aurocs = tuple(candidate_auroc(one, names) for one in found)
        less = tuple(own - peer for own, peer in zip(aurocs, peers, strict=True))
        standings[names] = Standing(aurocs=aurocs, less=less)
    return standings


def passing(standings: Mapping[Names, Standing]) -> Names | None:
    """The candidate of the highest mean AUROC, the first of equal ones, of those that pass; None where none does."""
    passed = [names for names, one in standings.items() if one.passes]
    return max(passed, key=lambda names: float(np.mean(standings[names].aurocs)), default=None)
