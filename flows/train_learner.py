"""Step: one training of one learner with one seed; its model, and the signals it recorded on the way.

An unfinished training leaves a checkpoint, from which the next run carries on bit for bit.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from flows import resolve
from flows.config import build
from flows.step import Progress, Step
from learners.checkpoint import Checkpoint, model_arrays, save_state
from learners.fit import fit
from learners.learner import EpochReport
from learners.signals import Recorder
from learners.training import Training
from storage.artifacts import Draft
from storage.checkpoints import to_bytes
from storage.dataset import Dataset
from storage.store import Store
from storage.tables import signals_to_table
from storage.values import Examples

CHECKPOINT_SECONDS = 20.0
"""Least time between two checkpoints: a killed run repeats at most this much and one epoch."""


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Train, record, keep checkpoints, and publish model, signals and epochs."""
    request, settings = step.request, step.request.settings
    dataset = store.dataset(request.inputs["dataset"])
    selected = request.inputs.get("selection")
    examples = dataset.examples("train", store.selection(selected) if selected else None)
    training = build(Training, settings["training"], "training")
    if selected:
        training = replace(training, steps_per_epoch=training.batches_per_pass(len(examples)))
    recorder = Recorder({name: tuple(epochs) for name, epochs in settings["record"].items()})
    reports: list[dict[str, Any]] = []
    with store.write(request) as draft:
        resume = _resumed(store, draft, reports)
        saved = time.perf_counter()
        for report in fit(
            resolve.method("learner", settings["learner"], "learner"),
            examples,
            model=resolve.method("model", settings["model"], "model"),
            training=training,
            seed=request.seed or 0,
            recorder=recorder,
            resume=resume,
            validation=_validation(dataset) if training.early_stop else None,
        ):
            reports.append(_row(report))
            if time.perf_counter() - saved > CHECKPOINT_SECONDS and report.epoch < report.epochs:
                checkpoint = save_state(report.state, recorder)
                store.checkpoints.save(
                    request.id,
                    checkpoint.arrays,
                    {"facts": checkpoint.facts, "reports": reports, "seconds": draft.seconds},
                )
                saved = time.perf_counter()
            yield Progress(done=report.epoch, total=report.epochs, unit="epochs", note=_note(report))
        _fill(draft, examples, recorder, reports, model_arrays(report.state.best))
    store.checkpoints.remove(request.id)


def _validation(dataset: Dataset) -> Examples:
    """The validation split, by whose given labels the best epoch is chosen."""
    examples = dataset.examples("validation")
    if examples.labels is None or not len(examples):
        raise ValueError(
            "training.early_stop needs a labelled validation split, and this data set has none; see [splits]"
        )
    return examples


def _resumed(store: Store, draft: Draft, reports: list[dict[str, Any]]) -> Checkpoint | None:
    """The checkpoint of an interrupted try, its reports and time taken over."""
    found = store.checkpoints.load(draft.request.id)
    if found is None:
        return None
    arrays, card = found
    reports.extend(card["reports"])
    draft.earlier_seconds = float(card["seconds"])
    return Checkpoint(arrays=arrays, facts=card["facts"])


def _fill(
    draft: Draft, examples: Examples, recorder: Recorder, reports: list[dict[str, Any]], weights: dict[str, Any]
) -> None:
    recorded = recorder.result()
    if recorded.arrays:
        frame, meta = signals_to_table(examples.index, recorded.arrays, recorded.epochs)
        draft.add_table("signals", frame)
        draft.meta.update(meta)
    draft.add_table("epochs", pl.DataFrame(reports).with_columns(pl.col("epoch").cast(pl.Int64)))
    card = {"model": draft.request.settings["model"], "classes": list(examples.classes)}
    draft.add_bytes("model", "model.safetensors", to_bytes(weights, card))
    draft.meta["training_seconds"] = sum(one["seconds"] for one in reports)
    draft.meta["recording_seconds"] = sum(one["recording_seconds"] for one in reports)
    draft.meta["metrics"] = {f"train_{name}": reports[-1][name] for name in ("loss", "accuracy") if name in reports[-1]}


def _row(report: EpochReport) -> dict[str, Any]:
    return {
        "epoch": report.epoch,
        "seconds": report.seconds,
        "recording_seconds": report.recording_seconds,
        **report.metrics,
        **{f"validation_{name}": value for name, value in report.validation.items()},
    }


def _note(report: EpochReport) -> str:
    return ", ".join(f"{name} {report.metrics[name]:.3f}" for name in ("loss", "accuracy") if name in report.metrics)
