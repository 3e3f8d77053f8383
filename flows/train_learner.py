"""Step: one training of one learner with one seed; its models, and the signals it recorded on the way.

The model of the last epoch is kept, and where there is a labelled validation split, that of the epoch that did best
there. Without a fold, what the networks of the last epoch say of that fold's rows is kept instead. An unfinished
training leaves a checkpoint, from which the next run carries on bit for bit.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows import resolve
from flows.checkpoint_interval import checkpoint_seconds
from flows.config import build
from flows.fold_trainings import OUT_OF_FOLD, held_out_rows
from flows.ranks import called_ranks
from flows.step import Progress, Step
from learners.checkpoint import Checkpoint, model_arrays, save_state
from learners.distributed import Ranks
from learners.fit import fit
from learners.folds import held_out_probs, without_fold
from learners.learner import EpochReport, Learner
from learners.observed import observed_learner
from learners.signals import Recorder
from learners.threads import computing_threads
from learners.training import Training
from storage.artifacts import Draft, Request
from storage.checkpoints import to_bytes
from storage.dataset import Dataset
from storage.store import Store
from storage.tables import signals_to_table
from storage.values import Array, Examples, Schedule


def perform(store: Store, step: Step) -> Iterator[Progress]:
    """Train, record, keep checkpoints, and publish models, signals and epochs."""
    pause = checkpoint_seconds()
    request, task = step.request, _Task.of(store, step.request)
    reports: list[dict[str, Any]] = []
    with store.write(request) as draft:
        resume = _resumed(store, draft, reports)
        ranks = called_ranks(step, _epoch(resume))
        saved = time.perf_counter()
        for report in task.epochs(resume, ranks):
            reports.append(_row(report))
            if time.perf_counter() - saved >= pause and _goes_on(report, task.training):
                checkpoint = save_state(report.state, task.recorder)
                store.checkpoints.save(
                    request.id,
                    checkpoint.arrays,
                    {"facts": checkpoint.facts, "reports": reports, "seconds": draft.seconds},
                )
                saved = time.perf_counter()
            yield Progress(done=report.epoch, total=report.epochs, unit="epochs", note=_note(report))
        _fill(draft, task.examples, task.recorder, reports)
        if task.held_out is None:
            _add_models(draft, task.examples, report)
        else:
            _add_probs(draft, task, task.held_out, report)
        if task.learner != task.asked:
            draft.meta["observed"] = resolve.plain(task.learner)
    store.checkpoints.remove(request.id)


def follow(store: Store, request: Request, ranks: Ranks, epoch: int) -> None:
    """Train along with rank 0, which alone reports, keeps checkpoints and publishes.

    Args:
        store: where the examples are.
        request: the training.
        ranks: all processes that train.
        epoch: completed epochs of the checkpoint from which rank 0 goes on, or 0.

    Raises:
        ValueError: this process finds another checkpoint, or rank 0 could not train either.
    """
    resume = _checkpoint(store.checkpoints.load(request.id))
    if _epoch(resume) != epoch:
        raise ValueError(
            f"rank {ranks.rank} would carry on {request.id} after epoch {_epoch(resume)} and rank 0 after epoch "
            f"{epoch}; all processes must see the same store"
        )
    for _ in _Task.of(store, request).epochs(resume, ranks):
        pass


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """What a request asks for, read from the store."""

    request: Request
    asked: Learner
    learner: Learner
    examples: Examples
    held_out: NDArray[np.bool_] | None
    """(N,) whether an example is of the fold that is left out; None where there is none."""
    schedule: Schedule | None
    validation: Examples | None
    training: Training
    recorder: Recorder

    @classmethod
    def of(cls, store: Store, request: Request) -> "_Task":
        dataset = store.dataset(request.inputs["dataset"])
        selected = request.inputs.get("selection")
        selection = store.selection(selected) if selected else None
        examples = dataset.examples("train", selection)
        fold = request.settings.get("fold")
        held_out = None if fold is None else held_out_rows(examples, fold, request.seed or 0)
        if held_out is not None:
            examples = without_fold(examples, held_out)
        asked: Learner = resolve.method("learner", request.settings["learner"], "learner")
        training = build(Training, request.settings["training"], "training")
        if selected and request.settings.get("steps") != "own":
            everything = len(dataset.index("train"))
            training = replace(training, steps_per_epoch=training.steps_in_epoch(everything))
        return cls(
            request=request,
            asked=asked,
            learner=observed_learner(asked, examples),
            examples=examples,
            held_out=held_out,
            schedule=selection.schedule if selection else None,
            validation=_validation(dataset, training) if fold is None or training.early_stop is not None else None,
            training=training,
            recorder=Recorder({name: tuple(epochs) for name, epochs in request.settings["record"].items()}),
        )

    def epochs(self, resume: Checkpoint | None, ranks: Ranks | None) -> Iterator[EpochReport]:
        """Train, with a report after every epoch."""
        return fit(
            self.asked,
            self.examples,
            model=resolve.method("model", self.request.settings["model"], "model"),
            training=self.training,
            seed=self.request.seed or 0,
            recorder=self.recorder,
            resume=resume,
            validation=self.validation,
            ranks=ranks,
            schedule=self.schedule,
        )


def _validation(dataset: Dataset, training: Training) -> Examples | None:
    """The validation split, by whose given labels the best epoch is chosen; None where there is none with labels."""
    needed = {"early_stop": training.early_stop is not None, "best_by": training.best_by != "accuracy"}
    if dataset.schema.classes and len(dataset.index("validation")):
        return dataset.examples("validation")
    for name in (one for one, wanted in needed.items() if wanted):
        raise ValueError(f"training.{name} needs a labelled validation split, and this data set has none; see [splits]")
    return None


def _goes_on(report: EpochReport, training: Training) -> bool:
    """Whether another epoch follows this one."""
    since_best = report.epoch - (report.best_epoch or 0)
    stops = training.early_stop is not None and since_best >= training.early_stop
    return report.epoch < report.epochs and not stops


def _resumed(store: Store, draft: Draft, reports: list[dict[str, Any]]) -> Checkpoint | None:
    """The checkpoint of an interrupted try, its reports and time taken over."""
    found = store.checkpoints.load(draft.request.id)
    if found is None:
        return None
    reports.extend(found[1]["reports"])
    draft.earlier_seconds = float(found[1]["seconds"])
    return _checkpoint(found)


def _checkpoint(found: tuple[dict[str, Array], dict[str, Any]] | None) -> Checkpoint | None:
    return None if found is None else Checkpoint(arrays=found[0], facts=found[1]["facts"])


def _epoch(resume: Checkpoint | None) -> int:
    """Completed epochs."""
    return int(resume.facts["epoch"]) if resume else 0


def _fill(draft: Draft, examples: Examples, recorder: Recorder, reports: list[dict[str, Any]]) -> None:
    recorded = recorder.result()
    if recorded.arrays:
        frame, meta = signals_to_table(examples.index, recorded.arrays, recorded.epochs)
        draft.add_table("signals", frame)
        draft.meta.update(meta)
    draft.add_table("epochs", pl.DataFrame(reports).with_columns(pl.col("epoch").cast(pl.Int64)))
    draft.meta["training_seconds"] = sum(one["seconds"] for one in reports)
    draft.meta["recording_seconds"] = sum(one["recording_seconds"] for one in reports)
    draft.meta["metrics"] = {f"train_{name}": reports[-1][name] for name in ("loss", "accuracy") if name in reports[-1]}


def _add_models(draft: Draft, examples: Examples, report: EpochReport) -> None:
    """Keep the predicting networks of the last epoch, and those of the best one where there is one."""
    settings = draft.request.settings
    shared = {"model": settings["model"], "classes": list(examples.classes), "learner": settings["learner"]}
    kept = [("model", report.epoch, report.state.predicting)]
    if report.best_epoch is not None:
        draft.meta["best_epoch"] = report.best_epoch
        kept.append(("best", report.best_epoch, report.state.best))
    for table, epoch, networks in kept:
        card = {**shared, "epoch": epoch}
        draft.add_bytes(table, f"{table}.safetensors", to_bytes(model_arrays(networks), card))


def _add_probs(draft: Draft, task: _Task, held_out: NDArray[np.bool_], report: EpochReport) -> None:
    """Keep what the predicting networks of the last epoch say of the fold's rows."""
    began = time.perf_counter()
    with computing_threads(task.training.threads):
        probs = held_out_probs(report.state.predicting, task.examples, held_out)
    index = task.examples.index.take(np.flatnonzero(held_out))
    frame, meta = signals_to_table(index, {OUT_OF_FOLD: probs[:, None]}, {OUT_OF_FOLD: (report.epoch,)})
    draft.add_table("signals", frame)
    draft.meta.update(meta)
    draft.meta["recording_seconds"] += time.perf_counter() - began


def _row(report: EpochReport) -> dict[str, Any]:
    return {
        "epoch": report.epoch,
        "seconds": report.seconds,
        "recording_seconds": report.recording_seconds,
        **report.metrics,
        **{f"validation_{name}": value for name, value in report.validation.items()},
    }


def _note(report: EpochReport) -> str:
    """Such as `loss 0.71, accuracy 0.82, kept 0.8, validation loss 0.75, validation accuracy 0.8`."""
    found = {**report.metrics, **{f"validation {name}": value for name, value in report.validation.items()}}
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.items())
