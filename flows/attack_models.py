"""Attacks on evaluated models: the same test examples for every model, one attack after the other.

Every finished attack is kept until the evaluation is published, so that a killed run repeats one at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from flows.step import Progress
from learners.attacks import Threat
from learners.auto_attack.ensemble import auto_attack
from learners.evaluate import accuracy, predict_logits
from learners.gradient_masking import masking_evidence, masking_warnings
from learners.named_attacks import (
    ENSEMBLE,
    attack_metrics,
    attacked_logits,
    drawn_examples,
    gap_warnings,
    threat_around,
)
from learners.threads import computing_threads
from storage.artifacts import Draft, Request
from storage.dataset import Dataset
from storage.store import Store
from storage.values import Array, Examples

Epoch = Literal["last", "best"]

PREFIX: Mapping[Epoch, str] = {"last": "", "best": "best_"}
"""What the names of tables and of meta begin with, by the epoch that they are of."""

BROKEN_BY = " broken by"
"""What follows AutoAttack's name where it is kept which of its parts broke each example."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedModel:
    """The networks of one epoch of a training."""

    epoch: Epoch
    number: int
    """The epoch, counted from 1."""
    networks: Sequence[nn.Module]
    """One network, or several whose logits are averaged."""
    threads: int | None
    """CPU threads that it was trained with; None leaves it to PyTorch."""


def outcomes(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> pl.DataFrame:
    """Columns `label`, `predicted`, `correct` and `logits` of (N, K) logits."""
    predicted = logits.argmax(axis=1)
    return pl.DataFrame(
        {
            "label": pl.Series(labels, dtype=pl.Int64),
            "predicted": pl.Series(predicted, dtype=pl.Int64),
            "correct": predicted == labels,
            "logits": pl.Series(logits, dtype=pl.Array(pl.Float32, logits.shape[1])),
        }
    )


def attack_models(
    store: Store, draft: Draft, dataset: Dataset, examples: Examples, models: Sequence[EvaluatedModel]
) -> Iterator[Progress]:
    """Attack what the request asks for; table `attacked`, metrics and warnings go into the draft.

    Args:
        store: keeps finished attacks of an unfinished evaluation.
        draft: of the evaluation, with the clean metrics in its meta.
        dataset: whose training split gives the threat model its units, where it asks for them.
        examples: the test split.
        models: of the last epoch, and of the best one where there is one.

    Raises:
        ValueError: the best epoch is to be attacked and there is none, or inputs lie outside the threat's bounds.
    """
    task = _Task.of(draft.request, dataset, examples)
    by_epoch = {model.epoch: model for model in models}
    if task.best_attacks and "best" not in by_epoch:
        raise ValueError(
            "evaluation.best_attacks needs a labelled validation split, and this data set has none; see [splits]"
        )
    wanted = [(by_epoch["last"], name) for name in task.attacks]
    wanted += [(by_epoch["best"], name) for name in task.best_attacks]
    kept, card = store.checkpoints.load(draft.request.id) or ({}, {})
    draft.earlier_seconds = float(card.get("seconds", 0.0))
    total = len(wanted) + task.masking
    for done, (model, name) in enumerate(wanted, start=1):
        place = f"{model.number}/{name}"
        if place not in kept:
            kept |= task.found(model, name, place)
            store.checkpoints.save(draft.request.id, kept, {"seconds": draft.seconds})
        left = f"{name} leaves {100 * accuracy(kept[place], task.labels):.1f} %"
        yield Progress(done=done, total=total, unit="attacks", note=left)
    found = {(model.epoch, name): kept[f"{model.number}/{name}"] for model, name in wanted}
    _fill(draft, task, models, found)
    if task.masking:
        model = by_epoch.get("last", models[0])
        broken_by = kept.get(f"{model.number}/{ENSEMBLE}{BROKEN_BY}")
        draft.meta["warnings"] += [f"{one} ({model.epoch} epoch)" for one in task.masking_signs(model, broken_by)]
        yield Progress(done=total, total=total, unit="attacks", note="signs of gradient masking")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """What a request asks to attack, and how."""

    attacks: Sequence[str]
    best_attacks: Sequence[str]
    masking: bool
    examples: Examples
    labels: NDArray[np.int64]
    threat: Threat
    seed: int

    @classmethod
    def of(cls, request: Request, dataset: Dataset, examples: Examples) -> "_Task":
        settings: Mapping[str, Any] = request.settings["evaluation"]
        seed = request.seed or 0
        number = len(examples) if settings["attacked"] == "all" else int(settings["attacked"])
        drawn = drawn_examples(examples, number, seed)
        assert drawn.labels is not None
        threat = msgspec.convert(settings["threat"], Threat)
        return cls(
            attacks=settings["attacks"],
            best_attacks=settings["best_attacks"],
            masking=settings["masking"],
            examples=drawn,
            labels=drawn.labels,
            threat=threat_around(threat, dataset.examples("train"), drawn),
            seed=seed,
        )

    def found(self, model: EvaluatedModel, name: str, place: str) -> dict[str, Array]:
        """(N, K) logits where the attack left each label worst; of AutoAttack also which of its parts broke each."""
        with computing_threads(model.threads):
            if name != ENSEMBLE:
                logits = attacked_logits(name, model.networks, self.examples, self.threat, seed=self.seed)
                return {place: logits}
            result = auto_attack(model.networks, self.examples, self.threat, seed=self.seed)
            return {place: result.logits, f"{place}{BROKEN_BY}": result.broken_by}

    def clean_accuracy(self, model: EvaluatedModel) -> float:
        """Accuracy on the attacked examples without an attack."""
        with computing_threads(model.threads):
            return accuracy(predict_logits(model.networks, self.examples), self.labels)

    def masking_signs(self, model: EvaluatedModel, broken_by: Array | None) -> tuple[str, ...]:
        """What is suspicious, as sentences; AutoAttack is not run again where it is known what it broke."""
        with computing_threads(model.threads):
            evidence = masking_evidence(model.networks, self.examples, self.threat, seed=self.seed, broken_by=broken_by)
        return masking_warnings(evidence)


def _fill(
    draft: Draft, task: _Task, models: Sequence[EvaluatedModel], found: Mapping[tuple[Epoch, str], Array]
) -> None:
    """Add the table of attacked examples, and metrics and gaps for each model that was attacked."""
    parts = []
    for (epoch, name), logits in found.items():
        ids = pl.DataFrame({"example_id": task.examples.index.ids})
        named = ids.with_columns(pl.lit(epoch).alias("epoch"), pl.lit(name).alias("attack"))
        parts.append(named.hstack(outcomes(logits, task.labels)))
    draft.add_table("attacked", pl.concat(parts))
    draft.meta["attacked_examples"] = len(task.examples)
    for model in models:
        own = {name: logits for (epoch, name), logits in found.items() if epoch == model.epoch}
        if not own:
            continue
        metrics = draft.meta[f"{PREFIX[model.epoch]}metrics"]
        metrics["attacked_clean_accuracy"] = task.clean_accuracy(model)
        for name, logits in own.items():
            metrics |= attack_metrics(name, logits, task.labels)
        draft.meta["warnings"] += [f"{one} ({model.epoch} epoch)" for one in gap_warnings(metrics)]
