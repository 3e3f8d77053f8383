"""What finished arms left in the store: per-example predictions of every seed, and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.planned import planned
from flows.config import Recipe
from flows.recipe_sections import ArmConfig
from storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of a recipe, all of whose seeds have been trained and evaluated."""

    store: Store
    config: ArmConfig
    trainings: tuple[str, ...]
    """Ids of the trainings, one a seed."""
    evaluations: tuple[str, ...]
    """Ids of their evaluations."""

    @property
    def name(self) -> str:
        """The learner's name in the recipe."""
        return self.config.learner

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) test labels."""
        return self.store.table(self.evaluations[0], "predictions", ["label"])["label"].to_numpy()

    def logits(self, table: str = "predictions") -> NDArray[np.float64]:
        """(R, N, K) logits of the last epoch, or of `best_predictions`."""
        found = [self.store.table(one, table, ["logits"])["logits"].to_numpy() for one in self.evaluations]
        return np.stack(found).astype(np.float64)

    def correct(self, table: str = "predictions") -> NDArray[np.bool_]:
        """(R, N) whether each test example is predicted right."""
        return np.stack([self.store.table(one, table, ["correct"])["correct"].to_numpy() for one in self.evaluations])

    def attacked(self, attack: str, epoch: str = "last") -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(R, M, K) logits at each attacked example's worst point, and its (M,) labels."""
        logits, labels = [], np.empty(0, dtype=np.int64)
        for one in self.evaluations:
            rows = self.store.table(one, "attacked", ["epoch", "attack", "label", "logits"])
            rows = rows.filter(rows["epoch"] == epoch, rows["attack"] == attack)
            logits.append(rows["logits"].to_numpy())
            labels = rows["label"].to_numpy()
        return np.stack(logits).astype(np.float64), labels

    def metric(self, name: str, part: str = "metrics") -> list[float]:
        """A metric of every seed."""
        return [float(self.store.record(one).meta[part][name]) for one in self.evaluations]

    def facts(self, name: str) -> list[object]:
        """An entry of the evaluations' meta, one a seed; None where one lacks it."""
        return [self.store.record(one).meta.get(name) for one in self.evaluations]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of training, mean over seeds."""
        return float(np.mean([self.store.record(one).meta["training_seconds"] for one in self.trainings]))

    @property
    def visits(self) -> int:
        """Examples that one training visits, over all epochs."""
        training = self.store.record(self.trainings[0])
        examples = len(self.store.dataset(training.request.inputs["dataset"]).index("train"))
        return examples * training.rows("epochs")

    @property
    def fitted(self) -> float:
        """Share of given labels that training predicted right in its last epoch, mean over seeds."""
        return float(np.mean([self.store.record(one).meta["metrics"]["train_accuracy"] for one in self.trainings]))


def finished_arms(store: Store, recipe: Recipe) -> list[Arm]:
    """Arms of a recipe that are finished, in the recipe's order."""
    inputs = planned(store, recipe).report.request.inputs
    arms = []
    for place, config in enumerate(recipe.arms):
        trainings, evaluations = (_ids(inputs, f"{kind}.{place:03d}.") for kind in ("training", "evaluation"))
        if all(store.has(one) for one in (*trainings, *evaluations)):
            arms.append(Arm(store=store, config=config, trainings=trainings, evaluations=evaluations))
    return arms


def _ids(inputs: Mapping[str, str], role: str) -> tuple[str, ...]:
    return tuple(one for key, one in sorted(inputs.items()) if key.startswith(role))
