"""The training loop: the only one, for every learner."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray

from learners.batches import ExampleTensors, batch_positions, kept_positions
from learners.checkpoint import Checkpoint, load_state
from learners.learner import EpochReport, Learner
from learners.model import Model, kept_rows
from learners.randomness import generator, torch_seeded
from learners.signals import Recorder
from learners.state import TrainState
from learners.threads import computing_threads
from learners.training import Training, make_optimizer, make_scheduler
from storage.values import Examples


def fit(
    learner: Learner,
    examples: Examples,
    *,
    model: Model,
    training: Training,
    seed: int,
    recorder: Recorder | None = None,
    resume: Checkpoint | None = None,
) -> Iterator[EpochReport]:
    """Train, and report after every epoch.

    Everything is checked when this is called; training happens as the reports are asked for,
    and stops when no more are. Chance follows from the seed, the purpose and the epoch alone,
    and torch's global generator is as the caller left it at every report. Rows of weight 0
    enter no batch. The last, smaller batch of a pass is kept.

    Args:
        learner: the training rule.
        examples: N labelled examples, at least 2 of weight above 0.
        model: builds the learner's networks.
        training: epochs, batches, optimiser.
        seed: of weights, order and dropout; at least 0.
        recorder: takes signals at its chosen epochs; a fresh one for every run.
        resume: a checkpoint of this very run; its epochs are not trained or reported again.

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
    data = ExampleTensors.of(examples)
    state = _fresh_state(learner, examples, model, training, seed)
    if recorder:
        recorder.open(learner, training.epochs, kept_rows(examples))
    if resume:
        load_state(resume, state, recorder)
    run = _Run(learner=learner, examples=examples, data=data, training=training, seed=seed, recorder=recorder)
    return run.epochs(state)


def _fresh_state(learner: Learner, examples: Examples, model: Model, training: Training, seed: int) -> TrainState:
    models = [
        model.build(examples, int(generator(seed, "model", number).integers(2**63)))
        for number in range(learner.num_models)
    ]
    total_steps = training.epochs * training.steps_in_epoch(len(kept_positions(examples)))
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
        identity={
            "learner": repr(learner),
            "model": repr(model),
            "training": repr(training),
            "seed": seed,
            "examples": _digest(examples),
        },
    )


def _digest(examples: Examples) -> str:
    """Hash of the ids, labels and weights."""
    digest = sha256(examples.index.fingerprint.encode())
    for array in (examples.labels, examples.weights):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """What stays the same from epoch to epoch."""

    learner: Learner
    examples: Examples
    data: ExampleTensors
    training: Training
    seed: int
    recorder: Recorder | None

    def epochs(self, state: TrainState) -> Iterator[EpochReport]:
        kept = kept_positions(self.examples)
        while state.epoch < self.training.epochs:
            began = time.perf_counter()
            with computing_threads(self.training.threads):
                metrics, num_visits = self.train_epoch(state, kept)
                trained = time.perf_counter()
                if self.recorder:
                    self.recorder.close_epoch(state.epoch, state, self.data.inputs)
            yield EpochReport(
                epoch=state.epoch,
                epochs=self.training.epochs,
                num_visits=num_visits,
                metrics=metrics,
                seconds=trained - began,
                recording_seconds=time.perf_counter() - trained,
                state=state,
            )

    def train_epoch(self, state: TrainState, kept: NDArray[np.int64]) -> tuple[dict[str, float], int]:
        """Train for one epoch; its mean metrics over visits, and the number of visits."""
        sums: dict[str, float] = defaultdict(float)
        num_visits = 0
        num_steps = self.training.steps_in_epoch(len(kept))
        for model in state.models:
            model.train()
        with torch_seeded(self.seed, "epoch", state.epoch):
            for positions in batch_positions(
                kept, self.training, seed=self.seed, first_step=state.step, num_steps=num_steps
            ):
                batch = self.data.batch(positions)
                report = self.learner.step(state, batch)
                loss = float(report.losses.sum())
                if not np.isfinite(loss):
                    raise FloatingPointError(self.not_finite(state, positions, report.losses))
                if self.recorder:
                    self.recorder.catch(state.epoch + 1, positions, report.logits)
                sums["loss"] += loss
                sums["accuracy"] += float((report.logits.argmax(1) == batch.labels).sum())
                for name, value in report.metrics.items():
                    sums[name] += value * len(batch)
                num_visits += len(batch)
                state.step += 1
        state.epoch += 1
        return {name: value / num_visits for name, value in sums.items()}, num_visits

    def not_finite(self, state: TrainState, positions: torch.Tensor, losses: torch.Tensor) -> str:
        rows = positions[~torch.isfinite(losses)]
        ids = ", ".join(repr(self.examples.index[int(row)]) for row in rows[:3])
        return (
            f"the loss of learner {type(self.learner).__name__} is not finite for {len(rows)} of "
            f"{len(positions)} examples at epoch {state.epoch + 1}, step {state.step + 1} (first: {ids}). "
            "Lower learning_rate, or look at these examples."
        )
