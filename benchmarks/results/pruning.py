"""Pruning: what training on a part is worth, by policy and size, against a random part of that size.

Our rule looks at the validation split alone: of the policies whose paired interval there against the random part lies
above 0 it takes the one of highest accuracy, and where there is none it says "do not prune".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.arms import Arm, finished_arms
from benchmarks.results.experiments import RECIPES, located
from benchmarks.results.noise_found import NOT_FOR_TABLES
from benchmarks.results.tables import Row, interval, percent
from flows.config import Recipe, load_recipe
from learners.evaluate import predict_logits
from learners.significance import Interval, paired_difference
from learners.stored import load_networks
from learners.threads import computing_threads
from storage.store import Store

Outcomes = NDArray[np.bool_]
"""(R, N) whether each seed's model is right on each example."""

POLICIES = ("random", "el2n_hard", "el2n_window", "ccs", "prototypes", "rs2")
"""`random` is what the others are compared with."""
STATIC = ("el2n_hard", "el2n_window", "ccs", "prototypes")
"""Policies that leave the other examples out for good."""
DO_NOT_PRUNE = "do not prune"


def hardest_left_out(keep: float) -> float:
    """Share of the hardest examples that `el2n_window` and `ccs` leave out: more where less is kept."""
    return 0.3 if keep <= 0.1 else 0.2 if keep <= 0.3 else 0.1


def settings_of(policy: str, keep: float, num_classes: int) -> str:
    """A policy's settings in a recipe's [selection].

    Args:
        policy: one of `POLICIES`.
        keep: share of the examples.
        num_classes: the number of clusters of `prototypes`.
    """
    ranked, cut = 'score="el2n"', hardest_left_out(keep)
    near = "near" if keep <= 0.1 else "far"
    own = {
        "random": 'method="random"',
        "el2n_hard": f'method="top_fraction", {ranked}',
        "el2n_window": f'method="top_fraction", {ranked}, drop_first={cut}',
        "ccs": f'method="ccs", {ranked}, drop_hardest={cut}',
        "prototypes": f'method="prototypes", signals="erm", num_prototypes={num_classes}, keep="{near}"',
        "rs2": 'method="rs2", steps="equal"',
    }[policy]
    return f"{own}, fraction={keep}"


@dataclass(frozen=True, kw_only=True)
class PruningExperiment:
    """The table of one data set: a row a policy and size."""

    name: str
    title: str
    source: str | None
    """One of `inputs.MAKERS`; None for scikit-learn's digits."""
    num_classes: int
    overrides: tuple[str, ...] = ()
    """`key.path=value` changes to the recipe."""
    keeps: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Shares that are kept."""
    recipe: str = "pruning.toml"
    target: str = "curation"

    def recipes(self, data: Path, folder: Path) -> list[Recipe]:
        """Training on everything, and then each policy at each size."""
        given = (*located(data, folder, self.source, self.name), *self.overrides)
        found = [load_recipe(str(RECIPES / self.recipe), given)]
        for policy, keep in self._points():
            subset = f'subset="{self.name}-{policy}-{round(100 * keep)}"'
            chosen = f"selection={{{subset}, {settings_of(policy, keep, self.num_classes)}}}"
            arms = 'arms=[{learner="erm", data="subset"}]'
            found.append(load_recipe(str(RECIPES / self.recipe), (*given, chosen, arms)))
        return found

    def _points(self) -> list[tuple[str, float]]:
        return [(policy, keep) for keep in self.keeps for policy in POLICIES]

    def waits_for(self, module: str) -> bool:
        """Whether steps of this module are done for the table."""
        return module not in NOT_FOR_TABLES

    def shows(self, module: str) -> bool:
        """Whether the table may have another row once a step of this module has ended."""
        return module == "evaluate_learner"

    def note(self, store: Store, recipes: Sequence[Recipe]) -> str:
        """Nothing."""
        return ""

    def rows(self, store: Store, recipes: Sequence[Recipe]) -> list[Row]:
        """Training on everything, and then, size by size, the policies that have ended and our choice among them."""
        full = next(iter(finished_arms(store, recipes[0])), None)
        if full is None:
            return []
        ended = {
            point: arms[0]
            for point, recipe in zip(self._points(), recipes[1:], strict=True)
            if (arms := finished_arms(store, recipe))
        }
        rows = [pruning_row("100 %", "everything", full, None, full)]
        for keep in self.keeps:
            of_size = {policy: ended[policy, keep] for policy in POLICIES if (policy, keep) in ended}
            if "random" in of_size:
                rows += rows_of_size(f"{round(100 * keep)} %", of_size, full)
        return rows


def rows_of_size(keep: str, arms: Mapping[str, Arm], full: Arm) -> list[Row]:
    """Rows of one size; our choices as soon as every policy has ended.

    Args:
        keep: the size as a text.
        arms: what has ended by policy, `random` among it.
        full: training on everything.
    """
    rows = [pruning_row(keep, f"`{policy}`", arm, arms["random"], full) for policy, arm in arms.items()]
    if set(arms) != set(POLICIES):
        return rows
    validated = {policy: validation_correct(arm) for policy, arm in arms.items()}
    for title, policies in (("ours", POLICIES[1:]), ("ours, static", STATIC)):
        choice = chosen_policy({policy: validated[policy] for policy in policies}, validated["random"])
        named = f"**{title}**: {DO_NOT_PRUNE if choice is None else f'`{choice}`'}"
        if choice is not None:
            rows.append(pruning_row(keep, named, arms[choice], arms["random"], full))
        else:
            rows.append(pruning_row(keep, named, full, None, full))
    return rows


def pruning_row(keep: str, policy: str, arm: Arm, random: Arm | None, full: Arm) -> Row:
    """What training on one part is worth; `random` is None where nothing was pruned."""
    against = None if arm is random else random
    return {
        "keep": keep,
        "policy": policy,
        "test accuracy": percent(arm.metric("test_accuracy")),
        "against random": "" if against is None else points(arm.correct(), against.correct()),
        "against everything": "" if arm is full else points(arm.correct(), full.correct()),
        "validation, against random": ""
        if against is None
        else points(validation_correct(arm), validation_correct(against)),
        "s": f"{arm.seconds:.0f}",
    }


def points(first: Outcomes, second: Outcomes) -> str:
    """Points of accuracy that the first has above the second, with the paired interval."""
    return interval(paired(first, second), 100, 1)


def paired(first: Outcomes, second: Outcomes) -> Interval:
    """Accuracy less the other's, with its 95 % paired bootstrap interval over examples and seeds."""
    return _paired(first.tobytes(), second.tobytes(), len(first))


@lru_cache(maxsize=1024)
def _paired(first: bytes, second: bytes, num_seeds: int) -> Interval:
    """The same; kept, since tables are written again row by row."""
    sides = [np.frombuffer(one, dtype=np.bool_).reshape(num_seeds, -1) for one in (first, second)]
    return paired_difference(sides[0], sides[1])


def chosen_policy(validated: Mapping[str, Outcomes], random: Outcomes) -> str | None:
    """The policy of highest accuracy among those that are surely better than random there; None without any.

    Args:
        validated: outcomes on the validation split by policy.
        random: those of the random part of the same size.
    """
    better = [policy for policy, outcomes in validated.items() if paired(outcomes, random).low > 0]
    return max(better, key=lambda policy: float(validated[policy].mean()), default=None)


def validation_correct(arm: Arm) -> Outcomes:
    """(R, N) whether the model of each seed's last epoch gives each validation example its given label."""
    return np.stack([_validation_correct(arm.store.location, training) for training in arm.trainings])


@lru_cache(maxsize=1024)
def _validation_correct(location: str, training: str) -> Outcomes:
    """(N,) of one training; kept, since tables are written again row by row."""
    store = Store.open(location)
    dataset = store.dataset(store.record(training).request.inputs["dataset"])
    examples = dataset.examples("validation")
    arrays, card = store.model(training, "last")
    networks = load_networks(arrays, card, input_shape=examples.inputs.shape[1:])
    with computing_threads(1):
        logits = predict_logits(networks, examples)
    correct: Outcomes = logits.argmax(axis=1) == examples.labels
    return correct
