"""Noise found: how well each score tells which labels are wrong, beside cleanlab from the same probabilities.

The default, a score or a mean of ranks, is the one of `CANDIDATES` with the highest mean AUROC over the sets of
`development`. Other sets take no part in that choice: their tables are of the chosen one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.auroc_draws import auroc_difference
from benchmarks.results.cleanlab_scores import cleanlab_scores, is_installed
from benchmarks.results.experiments import RECIPES, located
from benchmarks.results.planned import planned
from benchmarks.results.tables import Row, interval
from curation.agreement import auroc, average_precision, precision_at
from curation.confident_joint import estimated_joint, self_confidence
from curation.voting import average_points
from flows.compare_subsets import wrong_labels
from flows.config import Recipe, load_recipe
from flows.signal_sources import read_signals
from learners.significance import Interval
from storage.store import Store
from storage.values import Scores

Names = tuple[str, ...]

CANDIDATES: tuple[Names, ...] = (
    ("el2n",),
    ("aum",),
    ("elr_noise",),
    ("confident_learning",),
    ("elr_noise", "confident_learning"),
    ("el2n", "confident_learning"),
    ("aum", "confident_learning"),
    ("elr_noise", "el2n"),
    ("elr_noise", "aum", "confident_learning"),
    ("elr_noise", "el2n", "confident_learning"),
    ("el2n", "knn_disagreement", "confident_learning"),
)
"""What may become the default: one score, or the mean of the ranks that several give."""

OUT_OF_FOLD = "confident_learning"
"""The scorer whose probabilities cleanlab is given too."""

NOT_FOR_TABLES = ("publish_model", "compare_subsets")
"""Modules of steps that no table here reads."""


@dataclass(frozen=True, kw_only=True)
class NoiseExperiment:
    """The table of one data set: a row a score."""

    name: str
    title: str
    source: str | None
    """One of `inputs.MAKERS`; None for scikit-learn's digits."""
    overrides: tuple[str, ...]
    """`key.path=value` changes to the recipe."""
    development: tuple["NoiseExperiment", ...] = ()
    """The sets on which the default is chosen; none for one of these, which stand for themselves and the others."""
    recipe: str = "noise_found.toml"
    target: str = "curation"

    def loaded(self, data: Path, folder: Path) -> Recipe:
        """The recipe with its source in place."""
        return load_recipe(
            str(RECIPES / self.recipe), (*located(data, folder, self.source, self.name), *self.overrides)
        )

    def recipes(self, data: Path, folder: Path) -> list[Recipe]:
        """The set's own recipe, and those that the default is chosen by."""
        return [self.loaded(data, folder), *(one.loaded(data, folder) for one in self.development)]

    def waits_for(self, module: str) -> bool:
        """Whether steps of this module are done for the table."""
        return module not in NOT_FOR_TABLES

    def shows(self, module: str) -> bool:
        """Whether the table may have another row once a step of this module has ended."""
        return module == "score_examples"

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """A row for every score that has ended, for the default and for cleanlab."""
        return found_rows(FoundSet.of(store, recipes[0]), chosen_default(store, recipes[1:]))

    def note(self, store: Store, recipes: Sequence[Recipe]) -> str:
        """How many labels are wrong, and what the confident joint says of that."""
        found = FoundSet.of(store, recipes[0])
        wrong, size = int(found.wrong.sum()), len(found.wrong)
        told = f"{wrong:,} of {size:,} labels are wrong, {100 * wrong / size:.1f} %"
        if found.estimated is not None:
            told += f"; the confident joint estimates {100 * found.estimated / size:.1f} %"
        return told + ("." if is_installed() else "; cleanlab is not installed here.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """What one row says of every example."""

    title: str
    suspicion: NDArray[np.float64]
    """(N,) high for likely wrong."""
    flagged: NDArray[np.bool_] | None
    """(N,) which labels the score itself calls wrong; None for one that does not say."""
    trainings: frozenset[str]
    """Ids of the trainings behind it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundSet:
    """The scores of one recipe that have ended, and the truth, all from the store."""

    store: Store
    dataset: str
    scores: Mapping[str, str]
    """Ids of the scores that have ended by name, in the recipe's order."""
    wanted: int
    """How many scores the recipe has."""

    @classmethod
    def of(cls, store: Store, recipe: Recipe) -> "FoundSet":
        """What a recipe has made so far."""
        inputs = planned(store, recipe).report.request.inputs
        ids = {name: inputs[f"score.{name}"] for name in recipe.scorers}
        ended = {name: one for name, one in ids.items() if store.has(one)}
        return cls(store=store, dataset=inputs["dataset"], scores=ended, wanted=len(ids))

    @property
    def is_complete(self) -> bool:
        """Whether every score has ended."""
        return len(self.scores) == self.wanted

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """(N,) which given labels differ from the clean ones."""
        found = wrong_labels(self.store.dataset(self.dataset))
        if found is None:
            raise ValueError(f"{self.dataset} has no clean labels, so nobody can say which labels are wrong")
        return found

    @cached_property
    def loaded(self) -> dict[str, Scores]:
        """The scores themselves."""
        return {name: self.store.scores(one) for name, one in self.scores.items()}

    @cached_property
    def of_seeds(self) -> tuple[NDArray[np.floating], NDArray[np.int64]] | None:
        """(S, N, K) out-of-fold probabilities and (N,) given labels; None until all folds have ended."""
        if OUT_OF_FOLD not in self.scores:
            return None
        signals = read_signals(self.store, self.store.record(self.scores[OUT_OF_FOLD]).request, ("oof_probs", "label"))
        return signals.at_epoch("oof_probs", None), signals["label"]

    @cached_property
    def out_of_fold(self) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        """(N, K) out-of-fold probabilities, mean over seeds, and (N,) given labels; None until all folds have ended."""
        if self.of_seeds is None:
            return None
        probs, labels = self.of_seeds
        return probs.mean(axis=0, dtype=np.float64), labels

    @cached_property
    def estimated(self) -> int | None:
        """How many labels the confident joint calls wrong."""
        if self.out_of_fold is None:
            return None
        probs, labels = self.out_of_fold
        return round((1 - float(np.trace(estimated_joint(probs, labels)))) * len(labels))

    def trainings(self, name: str) -> frozenset[str]:
        """Ids of the trainings that a score was computed from."""
        inputs = self.store.record(self.scores[name]).request.inputs.values()
        return frozenset(one for one in inputs if self.store.record(one).kind == "training")

    def combined(self, names: Names) -> Finding | None:
        """The mean of the ranks that several scores give, or the one score; None until all of them have ended."""
        if not set(names) <= set(self.scores):
            return None
        points = average_points(np.stack([self.loaded[name].suspicion for name in names]))
        behind = frozenset[str]().union(*(self.trainings(name) for name in names))
        return Finding(title=titled(names), suspicion=points.mean(axis=0), flagged=None, trainings=behind)

    def combined_by_one(self, names: Names) -> NDArray[np.float64] | None:
        """(N,) suspicion of a combination that has the folds of the first seed alone; None until there are such."""
        if self.of_seeds is None or OUT_OF_FOLD not in names or not set(names) <= set(self.scores):
            return None
        probs, labels = self.of_seeds
        others = [self.loaded[name].suspicion for name in names if name != OUT_OF_FOLD]
        doubt = -self_confidence(probs[0].astype(np.float64), labels)
        means: NDArray[np.float64] = average_points(np.stack([*others, doubt])).mean(axis=0)
        return means

    def singles(self) -> Iterator[Finding]:
        """Every score by itself."""
        for name, scores in self.loaded.items():
            yield Finding(
                title=f"`{name}`",
                suspicion=scores.suspicion,
                flagged=scores.columns.get("flagged"),
                trainings=self.trainings(name),
            )

    def peers(self) -> list[Finding]:
        """cleanlab, its default first; nothing where it is not installed or folds are missing."""
        if self.out_of_fold is None or not is_installed():
            return []
        behind = self.trainings(OUT_OF_FOLD)
        return [
            Finding(title=title, suspicion=suspicion, flagged=flagged, trainings=behind)
            for title, suspicion, flagged in cleanlab_scores(*self.out_of_fold)
        ]


def found_rows(found: FoundSet, default: Names | None) -> list[Row]:
    """A row each for the default, the scores and cleanlab; the last column is the default less the row."""
    ours = None if default is None else found.combined(default)
    rows = [] if ours is None else [found_row(found, ours, None, f"**default**: {ours.title}")]
    return rows + [found_row(found, one, ours, one.title) for one in (*found.singles(), *found.peers())]


def found_row(found: FoundSet, one: Finding, ours: Finding | None, title: str) -> Row:
    """What one finding is worth."""
    wrong = found.wrong
    seconds = sum(float(found.store.record(each).meta["training_seconds"]) for each in one.trainings)
    less = None if ours is None else auroc_difference(ours.suspicion, one.suspicion, wrong)
    return {
        "score": title,
        "AUROC": f"{auroc(one.suspicion, wrong):.4f}",
        "AP": f"{average_precision(one.suspicion, wrong):.4f}",
        "F1 at the estimated rate": ""
        if not found.estimated
        else f"{f1_at(one.suspicion, wrong, found.estimated):.3f}",
        "F1 of its own flags": "" if one.flagged is None else f"{f1_of(one.flagged, wrong):.3f}",
        "AUROC, default less this": "" if less is None else interval(less, 1, 4),
        "trainings, s": f"{len(one.trainings)}, {seconds:.0f}",
    }


def f1_at(suspicion: NDArray[np.float64], wrong: NDArray[np.bool_], count: int) -> float:
    """F1 of calling the most suspicious ones wrong; ties at the cut count by their expectation."""
    return 2 * precision_at(suspicion, wrong, count) * count / (count + int(wrong.sum()))


def f1_of(flagged: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> float:
    """F1 of flags, which is 0 where none is right."""
    return float(2 * (flagged & wrong).sum() / max(1, flagged.sum() + wrong.sum()))


def titled(names: Names) -> str:
    """Such as "mean rank of `elr_noise` and `el2n`"."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"mean rank of {', '.join(quoted[:-1])} and {quoted[-1]}"


def chosen_default(store: Store, development: Sequence[Recipe]) -> Names | None:
    """The candidate with the highest mean AUROC, the first of equal ones; None until all those sets have ended."""
    sets = [FoundSet.of(store, recipe) for recipe in development]
    if not sets or not all(one.is_complete for one in sets):
        return None
    return highest({names: [candidate_auroc(one, names) for one in sets] for names in CANDIDATES})


def candidate_auroc(found: FoundSet, names: Names) -> float:
    """AUROC of a candidate on a set that has ended."""
    combined = found.combined(names)
    assert combined is not None
    return auroc(combined.suspicion, found.wrong)


def highest(aurocs: Mapping[Names, Sequence[float]]) -> Names:
    """The candidate with the highest mean, the first of equal ones."""
    return max(aurocs, key=lambda names: float(np.mean(aurocs[names])))


def against_cleanlab(found: FoundSet, default: Names | None) -> tuple[Finding, Finding, Interval] | None:
    """The default, cleanlab's default and the difference; None until there are both."""
    ours, peers = None if default is None else found.combined(default), found.peers()
    if ours is None or not peers:
        return None
    return ours, peers[0], auroc_difference(ours.suspicion, peers[0].suspicion, found.wrong)
