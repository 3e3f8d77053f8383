"""Step: a trained model's predictions on the test split, and its metrics there, at the last and at the best epoch.

The temperature is fitted to the given labels of the validation split; the test split chooses nothing. What the recipe
attacks is attacked afterwards, in `flows.attack_models`.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows.attack_models import PREFIX, EvaluatedModel, attack_models, outcomes
from flows.step import Progress, Step
from learners.calibration import fitted_temperature
from learners.clean_metrics import clean_metrics
from learners.evaluate import predict_logits
from learners.stored import load_networks
from learners.threads import computing_threads
from learners.worst_case import group_accuracy
from storage.artifacts import Draft, Record
from storage.schemas import DatasetSchema
from storage.store import Store
from storage.values import Examples

EPOCHS: Mapping[Literal["last", "best"], str] = {"last": "model", "best": "best"}
"""Table of a training's weights by the epoch that they are of."""


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Rebuild the models, predict the test split, attack them where asked, and publish predictions and metrics."""
    request = step.request
    dataset = store.dataset(request.inputs["dataset"])
    examples = dataset.examples("test")
    if examples.labels is None or not len(examples):
        raise ValueError("evaluation needs a labelled test split, and this data set has none; see [splits]")
    validation = dataset.examples("validation") if len(dataset.index("validation")) else None
    training = store.record(request.inputs["training"])
    models = _models(store, training, examples)
    with store.write(request) as draft:
        draft.meta |= {
            "learner": request.settings["learner"]["method"],
            "data": request.settings["data"],
            "test_examples": len(examples),
            "best_epoch": training.meta.get("best_epoch"),
            "warnings": [],
        }
        for model in models:
            with computing_threads(model.threads):
                _evaluate(draft, model, examples, validation, dataset.schema)
            yield Progress(done=len(examples), total=len(examples), unit="examples", note=f"{model.epoch} epoch")
        if "evaluation" in request.settings:
            yield from attack_models(store, draft, dataset, examples, models)
    store.checkpoints.remove(request.id)


def _models(store: Store, training: Record, examples: Examples) -> list[EvaluatedModel]:
    """The networks of the last epoch, and those of the best one where there is one."""
    threads = training.request.settings["training"].get("threads")
    models = []
    for epoch, table in EPOCHS.items():
        if training.table(table):
            arrays, card = store.model(training.id, epoch)
            networks = load_networks(arrays, card, input_shape=examples.inputs.shape[1:])
            number = int(card.get("epoch", training.rows("epochs")))
            models.append(EvaluatedModel(epoch=epoch, number=number, networks=networks, threads=threads))
    return models


def _evaluate(
    draft: Draft, model: EvaluatedModel, examples: Examples, validation: Examples | None, schema: DatasetSchema
) -> None:
    """Predict the test split, and note what one model's predictions say."""
    prefix = PREFIX[model.epoch]
    logits, labels = predict_logits(model.networks, examples), examples.labels
    assert labels is not None
    temperature, reason = _temperature(model, validation)
    table = pl.DataFrame({"example_id": examples.index.ids}).hstack(outcomes(logits, labels))
    draft.add_table(f"{prefix}predictions", table)
    draft.meta |= {
        f"{prefix}temperature": temperature,
        f"{prefix}temperature_reason": reason,
        f"{prefix}metrics": clean_metrics(logits, labels, groups=examples.groups, temperature=temperature),
        f"{prefix}worst_class": _worst(logits, labels, labels, schema.classes),
        f"{prefix}worst_group": _worst(logits, labels, examples.groups, schema.groups),
    }


def _temperature(model: EvaluatedModel, validation: Examples | None) -> tuple[float | None, str | None]:
    """The temperature that fits the validation split's given labels best; else None and why."""
    if validation is None or validation.labels is None:
        return None, "there is no labelled validation split to fit a temperature to"
    try:
        return fitted_temperature(predict_logits(model.networks, validation), validation.labels), None
    except ValueError as error:
        return None, str(error)


def _worst(
    logits: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64] | None, names: tuple[str, ...]
) -> str | None:
    """Name of the class or group of lowest accuracy; the first of equal ones."""
    if groups is None:
        return None
    by = group_accuracy(logits.argmax(axis=1) == labels, groups)
    return names[int(by.groups[by.accuracies.argmin()])]
