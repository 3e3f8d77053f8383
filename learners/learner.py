"""Learner: a training rule; and the reports of a step and of an epoch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from learners.batch import Batch
from learners.state import TrainState


@dataclass(frozen=True, kw_only=True, eq=False)
class StepReport:
    """What a learner saw of a batch while it trained on it."""

    losses: Tensor
    """(B,) what was minimised per example, in nats, before weights; detached."""
    logits: Tensor
    """(B, K) training-mode logits before the update; detached."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The learner's own numbers, averaged over the epoch's examples."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochReport:
    """An epoch that is over."""

    epoch: int
    """Its number, counted from 1."""
    epochs: int
    """Planned epochs."""
    num_visits: int
    """Examples that were trained on in this epoch, repeats counted."""
    metrics: Mapping[str, float]
    """`loss` and `accuracy` (against the given labels, while training), then the learner's own."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """`loss` and `accuracy` on the validation examples, by their given labels; empty without such."""
    best_epoch: int | None = None
    """The best epoch so far on the validation examples, or None without such."""
    seconds: float
    """Time spent on training."""
    recording_seconds: float
    """Time spent on recording signals after the epoch."""
    state: TrainState
    """The live state: save or evaluate it before asking for the next report."""


class Learner(ABC):
    """A frozen dataclass of settings whose `step` reads like the paper's algorithm.

    The file name of an implementation is its name in recipes.
    """

    num_models: ClassVar[int] = 1
    """Networks that are trained side by side."""
    gives: ClassVar[tuple[str, ...]] = ()
    """Per-example buffers that can be recorded as signals, beside `logits` and `train_logits`."""
    revision: ClassVar[int] = 1
    """Raised whenever the method's numbers change: stored results of older revisions are not reused."""

    @abstractmethod
    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """Train on one batch: forward, loss, `state.descend`, and a report of what was seen."""
