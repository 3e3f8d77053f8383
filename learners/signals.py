"""The recorder: what training saw of each example, at chosen epochs.

It knows `logits`, `embedding` (what enters the network's last layer) and `feature_norm` (its length), from one
evaluation-mode pass over all examples after the epoch, without augmentation; `grad_norm` (the length of each
example's own gradient in all weights, likewise); `train_logits` (training-mode logits, caught as each example is
visited); and the per-example buffers that the learner gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.evaluate import evaluation_logits
from learners.features import OF_FEATURES, evaluated
from learners.gradient_norms import gradient_norms
from learners.learner import Learner
from learners.state import TrainState

AFTER_THE_EPOCH = ("logits", *OF_FEATURES, "grad_norm")
"""Signals that the networks alone give, of examples that training never visits too."""

EVERY_LEARNER_GIVES = (*AFTER_THE_EPOCH, "train_logits")
"""Signals that need nothing of the learner."""

PASS_BATCH_SIZE = 500
"""Rows per forward pass of `logits`: about where a small network is fastest on a CPU."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """The signals of one seed."""

    arrays: Mapping[str, NDArray[np.float32]]
    """(N, T, ...) by name; stack seeds along a new first axis to make `Signals`."""
    epochs: Mapping[str, tuple[int, ...]]
    """Which epochs, counted from 1, the T entries belong to."""
    visited: NDArray[np.bool_]
    """(N,) whether training ever visits the example. Where it does not (weight 0), `train_logits`
    are 0 and a learner's buffers hold their first value: leave such rows out of what reads them."""


@dataclass(eq=False)
class Recorder:
    """Records named signals of one training run; a fresh one for every seed.

    `fit` calls `open` once, `catch` after every step and `close_epoch` after every epoch.
    """

    chosen: Mapping[str, Sequence[int]]
    """Epochs, counted from 1, at which to record each named signal."""
    taken: dict[str, dict[int, NDArray[np.float32]]] = field(default_factory=dict, init=False)
    """What was recorded so far: an (N, ...) array per name and epoch."""

    def __post_init__(self) -> None:
        self.chosen = {name: tuple(sorted(set(epochs))) for name, epochs in self.chosen.items()}
        for name, epochs in self.chosen.items():
            if not epochs or epochs[0] < 1:
                raise ValueError(f"epochs of signal {name!r} must be at least 1, got {list(epochs)}")
        self.taken = {name: {} for name in self.chosen}
        self._visited: NDArray[np.bool_] | None = None
        self._caught: Tensor | None = None
        self._missing: Tensor | None = None

    def open(self, learner: Learner, epochs: int, visited: NDArray[np.bool_]) -> None:
        """Check the choice against a learner and a number of epochs.

        Args:
            learner: gives the names that can be recorded.
            epochs: planned epochs.
            visited: (N,) whether an example's weight is above 0.

        Raises:
            ValueError: a name that this learner does not give (lists those it gives), an epoch
                after the last, or a recorder that was used before.
        """
        gives = EVERY_LEARNER_GIVES + learner.gives
        for name, numbers in self.chosen.items():
            if name not in gives:
                raise ValueError(
                    f"learner {type(learner).__name__} does not give signal {name!r}; it gives {', '.join(gives)}"
                )
            if numbers[-1] > epochs:
                raise ValueError(
                    f"signal {name!r} is to be recorded at epoch {numbers[-1]}, but training has {epochs} epochs"
                )
        if self._visited is not None:
            raise ValueError("this recorder belongs to an earlier run; make a new one for every run")
        self._visited = visited

    def check_networks(self, networks: Sequence[nn.Module], inputs: Tensor) -> None:
        """Refuse, before any training, features of networks that have no last linear layer.

        Args:
            networks: that will be recorded; left as they are.
            inputs: a few, as `input_tensor` makes them.

        Raises:
            ValueError: as `evaluated`.
        """
        if set(self.chosen) & set(OF_FEATURES):
            evaluated(networks, inputs, OF_FEATURES, PASS_BATCH_SIZE)

    def catch(self, epoch: int, positions: Tensor, logits: Tensor) -> None:
        """Keep a batch's training-mode logits; an example's later visit replaces the earlier.

        Args:
            epoch: the running epoch, counted from 1.
            positions: (B,) rows.
            logits: (B, K) detached.
        """
        if epoch not in self.chosen.get("train_logits", ()):
            return
        if self._caught is None:
            self._caught = torch.zeros(len(self._rows), logits.shape[1])
            self._missing = torch.from_numpy(self._rows.copy())
        assert self._missing is not None
        self._caught[positions] = logits
        self._missing[positions] = False

    def close_epoch(self, epoch: int, state: TrainState, inputs: Tensor, labels: Tensor) -> None:
        """Record what was chosen for an epoch that is over.

        Args:
            epoch: its number, counted from 1.
            state: the networks and buffers after it.
            inputs: all N inputs, as `input_tensor` makes them.
            labels: (N,) given classes.

        Raises:
            ValueError: `train_logits` of an example of weight above 0 that the epoch did not visit, or features of a
                network without a last linear layer.
        """
        due = [name for name, epochs in self.chosen.items() if epoch in epochs]
        found: dict[str, Tensor] = {}
        if any(name in OF_FEATURES for name in due):
            passed = [name for name in due if name in ("logits", *OF_FEATURES)]
            found |= evaluated(state.predicting, inputs, passed, PASS_BATCH_SIZE)
        for name in due:
            if name == "logits" and name not in found:
                found[name] = evaluation_logits(state.predicting, inputs, PASS_BATCH_SIZE)
            elif name == "grad_norm":
                found[name] = gradient_norms(state.predicting, inputs, labels)
            elif name == "train_logits":
                found[name] = self._take_caught(epoch)
            elif name not in found:
                found[name] = state.buffers[name].to("cpu", torch.float32, copy=True)
            self.taken[name][epoch] = found[name].numpy()

    def _take_caught(self, epoch: int) -> Tensor:
        caught, missing = self._caught, self._missing
        assert caught is not None
        assert missing is not None
        self._caught = self._missing = None
        if missing.any():
            raise ValueError(
                f"signal 'train_logits' at epoch {epoch}: {int(missing.sum())} of {int(self._rows.sum())} "
                "examples of weight above 0 were not visited. Raise steps_per_epoch or record 'logits'."
            )
        return caught

    @property
    def _rows(self) -> NDArray[np.bool_]:
        if self._visited is None:
            raise ValueError("this recorder has not been given to fit yet")
        return self._visited

    def result(self) -> Recorded:
        """Everything recorded so far.

        Raises:
            ValueError: a chosen epoch is not over yet.
        """
        for name, epochs in self.chosen.items():
            open_epochs = [epoch for epoch in epochs if epoch not in self.taken[name]]
            if open_epochs:
                raise ValueError(f"signal {name!r} was not recorded at epoch {open_epochs[0]} yet: train on")
        return Recorded(
            arrays={
                name: np.stack([self.taken[name][epoch] for epoch in epochs], axis=1)
                for name, epochs in self.chosen.items()
            },
            epochs={name: tuple(epochs) for name, epochs in self.chosen.items()},
            visited=self._rows.copy(),
        )
