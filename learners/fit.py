"""The training loop: the only one, for every learner."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray

from learners.augment import Augmentation
from learners.batch import Batch
from learners.batches import ExampleTensors, batch_positions, kept_positions
from learners.checkpoint import Checkpoint, load_state
from learners.class_weights import BETA, class_factors
from learners.descent import Descent
from learners.devices import device_of, prepared
from learners.distributed import Ranks
from learners.learner import EpochReport, Learner, StepReport
from learners.model import Model, kept_rows
from learners.observed import observed_learner
from learners.optimizers import make_optimizer, make_scheduler
from learners.order import num_scheduled
from learners.randomness import generator, torch_seeded
from learners.sharpness import RADIUS
from learners.signals import Recorder
from learners.soft_labels import drawn_labels
from learners.state import TrainState
from learners.steps import moved, num_parts, take_step
from learners.threads import computing_threads
from learners.training import Training
from learners.validation import Validation, epochs_since_best
from learners.visits import check_visits
from storage.values import Examples, Schedule


def fit(
    learner: Learner,
    examples: Examples,
    *,
    model: Model,
    training: Training,
    seed: int,
    recorder: Recorder | None = None,
    resume: Checkpoint | None = None,
    validation: Examples | None = None,
    ranks: Ranks | None = None,
    schedule: Schedule | None = None,
) -> Iterator[EpochReport]:
    """Train, and report after every epoch.

    Everything is checked when this is called; training happens as the reports are asked for,
    and stops when no more are. Chance follows from the seed, the purpose and the epoch alone,
    and torch's global generator is as the caller left it at every report. Rows of weight 0
    enter no batch. The last, smaller batch of a pass is kept. With validation examples, the
    networks of the best epoch so far are `state.best`. Rows with soft labels are trained on as
    labels drawn from them at each visit (`learners/soft_labels.py`).

    Under a schedule a pass visits only the rows that it gives that pass. Without `steps_per_epoch`
    an epoch is one pass, so training has fewer steps, over which the learning rate goes through its
    whole schedule; with it, an epoch has that many steps, cut from consecutive passes.

    Args:
        learner: the training rule; limits of a threat model that are words are filled in from the examples, and where
            validation examples are attacked, bounds hold these too.
        examples: N labelled examples, at least 2 of weight above 0.
        model: builds the learner's networks.
        training: epochs, batches, optimiser, device.
        seed: of weights, order and dropout; at least 0.
        recorder: takes signals at its chosen epochs; a fresh one for every run.
        resume: a checkpoint of this very run; its epochs are not trained or reported again.
        validation: labelled examples to choose the best epoch by, and to stop early by; by their given labels.
        ranks: the processes that train together; None for this one alone.
        schedule: which of the examples of weight above 0 each pass visits, such as that of a selection; at
            least 2. None is all of them.

    Returns:
        An iterator over one report per epoch still to be trained.

    Raises:
        ValueError: settings, examples, recorder or checkpoint that do not fit each other.
        TypeError: inputs of a type that no network reads.
        FloatingPointError: while iterating: a loss is not finite; names the learner, the epoch,
            the step and the first examples.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    ranks = ranks or Ranks()
    asked, learner = learner, observed_learner(learner, examples)
    data = _weighted(ExampleTensors.of(examples), examples, training)
    kept = kept_positions(examples)
    num_visited = num_scheduled(schedule, len(kept))
    _check(examples, training, validation, ranks, recorder, num_visited)
    total_steps = training.epochs * training.steps_in_epoch(num_visited)
    identity: dict[str, str | int] = {
        "learner": repr(learner),
        "model": repr(model),
        "training": repr(training),
        "seed": seed,
        "examples": _digest(examples, schedule),
        "validation": _digest(validation) if validation else "none",
    }
    state = _fresh_state(learner, examples, model, training, seed, ranks, total_steps, identity)
    if recorder:
        recorder.open(learner, training.epochs, kept_rows(examples))
        state.recorded = frozenset(recorder.chosen)
        recorder.check_networks(state.models, data.inputs[:2])
        if schedule:
            check_visits(recorder.chosen, kept, training, seed=seed, schedule=schedule)
    if resume:
        load_state(resume, state, recorder)
    run = _Run(
        learner=learner,
        examples=examples,
        data=data,
        kept=kept,
        num_visited=num_visited,
        training=training,
        seed=seed,
        schedule=schedule,
        recorder=recorder,
        validation=Validation.of(validation, examples, training.best_by, learner=asked, seed=seed)
        if validation
        else None,
    )
    return run.epochs(state)


def _check(
    examples: Examples,
    training: Training,
    validation: Examples | None,
    ranks: Ranks,
    recorder: Recorder | None,
    num_visited: int,
) -> None:
    """Settings that these examples, or the lack of others, forbid."""
    if training.augment and examples.inputs.ndim < 3:
        raise ValueError(f"augment is for images, and these inputs are a table; leave out {list(training.augment)}")
    if validation is None and (training.early_stop is not None or training.best_by != "accuracy"):
        raise ValueError("early_stop and best_by need validation examples, and fit was given none")
    if training.early_stop is not None and recorder and recorder.chosen:
        raise ValueError(
            f"signals at fixed epochs ({', '.join(recorder.chosen)}) may never come with early_stop; "
            "leave one of them out"
        )
    if num_visited < 2:
        raise ValueError("the schedule visits 1 example in a pass, and training needs at least 2; raise its fraction")
    rest = num_visited % training.batch_size
    if ranks.world_size > 1 and 1 < rest < 2 * ranks.world_size:
        raise ValueError(
            f"the last batch of a pass has {rest} examples, fewer than two for each of {ranks.world_size} processes; "
            "change batch_size"
        )


def _weighted(data: ExampleTensors, examples: Examples, training: Training) -> ExampleTensors:
    """The examples with their classes' factors in their weights."""
    if training.class_weights == "none":
        return data
    beta = BETA if training.class_weight_beta is None else training.class_weight_beta
    factors = class_factors(
        data.labels.numpy(), data.weights.numpy(), examples.num_classes, training.class_weights, beta
    )
    return replace(data, weights=data.weights * torch.from_numpy(factors.astype(np.float32))[data.labels])


def _fresh_state(
    learner: Learner,
    examples: Examples,
    model: Model,
    training: Training,
    seed: int,
    ranks: Ranks,
    total_steps: int,
    identity: dict[str, str | int],
) -> TrainState:
    device = device_of(training.device)
    models = [
        prepared(model.build(examples, int(generator(seed, "model", number).integers(2**63))), training, device)
        for number in range(learner.num_models)
    ]
    optimizers = [make_optimizer(training, network.parameters()) for network in models]
    return TrainState(
        models=models,
        optimizers=optimizers,
        schedulers=[make_scheduler(training, optimizer, total_steps) for optimizer in optimizers],
        num_examples=len(examples),
        num_classes=examples.num_classes,
        total_epochs=training.epochs,
        total_steps=total_steps,
        seed=seed,
        num_groups=None if examples.groups is None else int(examples.groups.max(initial=-1)) + 1,
        device=device,
        buffer_type=getattr(torch, training.buffers),
        buffers_on=training.buffers_on,
        descent=Descent(
            clip_norm=training.clip_norm,
            ema=training.ema,
            sam_radius=(training.sam_radius or RADIUS) if training.optimizer == "sam" else None,
            ranks=ranks,
        ),
        identity=identity,
    )


def _digest(examples: Examples, schedule: Schedule | None = None) -> str:
    """Hash of the ids, labels and weights, and of the schedule and soft labels where there are such."""
    digest = sha256(examples.index.fingerprint.encode())
    for array in (examples.labels, examples.weights):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    if schedule is not None:
        digest.update(repr(schedule).encode())
    if examples.soft_labels is not None:
        digest.update(np.ascontiguousarray(examples.soft_labels).tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """What stays the same from epoch to epoch."""

    learner: Learner
    examples: Examples
    data: ExampleTensors
    kept: NDArray[np.int64]
    num_visited: int
    training: Training
    seed: int
    schedule: Schedule | None
    recorder: Recorder | None
    validation: Validation | None

    def epochs(self, state: TrainState) -> Iterator[EpochReport]:
        patience = self.training.early_stop
        while state.epoch < self.training.epochs and (patience is None or epochs_since_best(state) < patience):
            began = time.perf_counter()
            with computing_threads(self.training.threads):
                metrics, num_visits = self.train_epoch(state)
                trained = time.perf_counter()
                if self.recorder:
                    self.recorder.close_epoch(state.epoch, state, self.data.inputs, self.data.labels)
                recorded = time.perf_counter()
                found = self.validation.metrics(state) if self.validation else {}
                best = self.validation.keep_best(state, found) if self.validation else None
            yield EpochReport(
                epoch=state.epoch,
                epochs=self.training.epochs,
                num_visits=num_visits,
                metrics=metrics,
                validation=found,
                best_epoch=best,
                seconds=trained - began,
                recording_seconds=recorded - trained,
                state=state,
            )

    def train_epoch(self, state: TrainState) -> tuple[dict[str, float], int]:
        """Train for one epoch; its mean metrics over visits, and the number of visits."""
        sums: dict[str, float] = defaultdict(float, loss=0.0, accuracy=0.0)
        visits: list[torch.Tensor] = []
        answers: list[torch.Tensor] = []
        caught = self.recorder.chosen.get("train_logits", ()) if self.recorder else ()
        recorder = self.recorder if state.epoch + 1 in caught else None
        for model in state.models:
            model.train()
        rank = state.descent.ranks.rank
        with torch_seeded(self.seed, "epoch", state.epoch, *([rank] if rank else [])):
            for pass_number, positions in self.batches(state.step):
                report = self.take_step(state, positions, pass_number)
                loss = float(report.losses.sum())
                if not math.isfinite(loss):
                    raise FloatingPointError(self.not_finite(state, positions, report.losses.cpu()))
                if recorder:
                    recorder.catch(state.epoch + 1, positions, report.logits.cpu())
                sums["loss"] += loss
                for name, value in report.metrics.items():
                    sums[name] += value * len(positions)
                visits.append(positions)
                answers.append(report.logits.argmax(1))
                state.step += 1
        state.descent.ranks.copy_statistics([*state.models, *state.copies.values()])
        state.epoch += 1
        visited = torch.cat(visits)
        sums["accuracy"] = float((torch.cat(answers).cpu() == self.data.labels[visited]).sum())
        return {name: value / len(visited) for name, value in sums.items()}, len(visited)

    def batches(self, first_step: int) -> Iterator[tuple[int, torch.Tensor]]:
        """An epoch's batches from this step on: the number of the pass over the examples, and (B,) positions."""
        positions = batch_positions(
            self.kept,
            self.training,
            seed=self.seed,
            first_step=first_step,
            num_steps=self.training.steps_in_epoch(self.num_visited),
            schedule=self.schedule,
        )
        per_pass = self.training.batches_per_pass(self.num_visited)
        return ((step // per_pass, batch) for step, batch in enumerate(positions, start=first_step))

    def take_step(self, state: TrainState, positions: torch.Tensor, pass_number: int) -> StepReport:
        """Train on the examples at these positions; the report is of all of them, in their order."""
        ranks = state.descent.ranks
        wanted = num_parts(len(positions), self.training.gradient_accumulation, ranks.world_size)
        parts = torch.tensor_split(positions, wanted) if wanted > 1 else (positions,)
        with self.forward_precision(state.device):
            return take_step(
                self.learner,
                state,
                [self.batch(ranks.share(part), pass_number, state.device) for part in parts],
                [len(part) for part in parts],
            )

    def batch(self, positions: torch.Tensor, pass_number: int, device: torch.device) -> Batch:
        """These examples as training sees them in this pass, on the device."""
        batch = self.data.batch(positions)
        if self.examples.soft_labels is not None:
            labels = drawn_labels(self.examples.soft_labels, positions.numpy(), seed=self.seed, pass_number=pass_number)
            batch = replace(batch, labels=torch.from_numpy(labels))
        batch = moved(batch, device)
        if not self.training.augment:
            return batch
        augmentation = Augmentation(
            names=self.training.augment,
            crop_padding=self.training.crop_padding,
            cutout_size=self.training.cutout_size,
            seed=self.seed,
        )
        return replace(batch, inputs=augmentation.applied(batch.inputs, positions.numpy(), pass_number))

    def forward_precision(self, device: torch.device) -> AbstractContextManager[object]:
        """Mixed precision inside the block, where it is set."""
        if self.training.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def not_finite(self, state: TrainState, positions: torch.Tensor, losses: torch.Tensor) -> str:
        rows = positions[~torch.isfinite(losses)]
        ids = ", ".join(repr(self.examples.index[int(row)]) for row in rows[:3])
        return (
            f"the loss of learner {type(self.learner).__name__} is not finite for {len(rows)} of "
            f"{len(positions)} examples at epoch {state.epoch + 1}, step {state.step + 1} (first: {ids}). "
            "Lower learning_rate, or look at these examples."
        )
