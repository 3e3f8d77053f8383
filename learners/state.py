"""TrainState: every mutable thing of a training run."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from learners.averaging import average_weights, copy_statistics, early_decay
from learners.descent import Descent, forget_gradients, full_precision
from learners.memory import BuffersOn, ExampleMemory, zeros_on_disk
from learners.randomness import generator, torch_generator
from learners.sharpness import climb, go_back
from storage.values import Array


@dataclass(kw_only=True, eq=False)
class TrainState:
    """Networks, optimisers, per-example buffers and counters: what a checkpoint must hold.

    Learners are frozen settings; whatever they must remember from batch to batch is here.
    """

    models: list[nn.Module]
    """One network, or as many as the learner's `num_models`."""
    optimizers: list[Optimizer]
    """One per network."""
    schedulers: list[LRScheduler]
    """One per network."""
    num_examples: int
    """N, rows of weight 0 included."""
    num_classes: int
    """K."""
    total_epochs: int
    """Planned epochs."""
    total_steps: int
    """Planned steps over all epochs."""
    identity: Mapping[str, str | int]
    """Which run this is: settings, seed and data. A checkpoint of another run is refused."""
    epoch: int = 0
    """Completed epochs: 0 during the first."""
    step: int = 0
    """Completed steps over all epochs: 0 during the first."""
    seed: int = 0
    """The run's seed, from which a learner's own draws follow."""
    num_groups: int | None = None
    """G, or None where the examples have no groups."""
    buffers: dict[str, Tensor] = field(default_factory=dict)
    """Named (N, width) memories of the learner, one row per position."""
    vectors: dict[str, Tensor] = field(default_factory=dict)
    """Named (size,) float64 memories of the learner that belong to no example."""
    copies: dict[str, nn.Module] = field(default_factory=dict)
    """Named further networks, made from a trained one and never descended."""
    device: torch.device = torch.device("cpu")
    """Where networks, batches and memories are."""
    buffer_type: torch.dtype = torch.float32
    """How buffers of a width above 1 are held; a buffer of width 1 is float32."""
    buffers_on: BuffersOn = "memory"
    """Where buffers are held: `memory` of the device, or `disk`, on the CPU alone."""
    recorded: frozenset[str] = frozenset()
    """Signals that the run records: memories that serve a signal alone are kept only where it is among them."""
    descent: Descent = field(default_factory=Descent)
    """How losses become updates; between steps there is nothing in it to remember."""

    def __post_init__(self) -> None:
        if self.buffers_on == "disk" and self.device.type != "cpu":
            raise ValueError(
                f"buffers_on 'disk' is for training on the CPU, and these networks train on {self.device.type}; "
                "set buffers_on to memory, or device to cpu"
            )

    def per_example(self, name: str, width: int, fill: float = 0.0) -> ExampleMemory:
        """The buffer of that name, created on first use.

        Args:
            name: the learner's name for it, such as "elr_targets".
            width: numbers per example.
            fill: first value of every entry.

        Returns:
            N rows of float32, to be read and written at `batch.positions`.
        """
        if name not in self.buffers:
            buffer = self._zeros(width, self.buffer_type if width > 1 else torch.float32)
            self.buffers[name] = buffer.fill_(fill) if fill else buffer
        return ExampleMemory(self.buffers[name])

    def _zeros(self, width: int, held_as: torch.dtype) -> Tensor:
        """(N, width) zeros where buffers are held."""
        if self.buffers_on == "disk":
            return zeros_on_disk(self.num_examples, width, held_as)
        return torch.zeros(self.num_examples, width, dtype=held_as, device=self.device)

    def saved_buffer(self, name: str) -> Array:
        """A copy of that buffer, (N, width), on disk where buffers are; further training does not change it."""
        buffer = self.buffers[name]
        if self.buffers_on == "memory":
            return buffer.cpu().numpy().copy()
        return zeros_on_disk(len(buffer), buffer.shape[1], buffer.dtype).copy_(buffer).numpy()

    def restore_buffer(self, name: str, rows: Array) -> None:
        """Give that buffer the (N, width) rows of `saved_buffer`."""
        if self.buffers_on == "memory":
            self.buffers[name] = torch.from_numpy(np.array(rows)).to(self.device)
            return
        held_as = torch.from_numpy(np.empty(0, rows.dtype)).dtype
        self.buffers[name] = zeros_on_disk(len(rows), rows.shape[1], held_as)
        np.copyto(self.buffers[name].numpy(), rows)

    def vector(self, name: str, size: int, fill: float = 0.0) -> Tensor:
        """The vector of that name, created on first use.

        Args:
            name: the learner's name for it, such as "group_shares".
            size: how many numbers.
            fill: first value of every entry.

        Returns:
            (size,) float64, to be read and written in place.
        """
        if name not in self.vectors:
            self.vectors[name] = torch.full((size,), fill, dtype=torch.float64, device=self.device)
        return self.vectors[name]

    def copied(self, name: str, model: int = 0) -> nn.Module:
        """The further network of that name: on first use a copy of a trained one as it is now.

        Args:
            name: the learner's name for it, without "/".
            model: which network is copied.

        Returns:
            A network whose parameters need no gradient; its mode is the caller's to choose.
        """
        if name not in self.copies:
            self.copies[name] = copy.deepcopy(self.models[model]).requires_grad_(False)
        return self.copies[name]

    @property
    def predicting(self) -> list[nn.Module]:
        """The networks that predict: the running averages of the weights where there are some, else the trained."""
        if self.descent.ema is None:
            return self.models
        return [self.copied(f"ema_{number}", number) for number in range(len(self.models))]

    @property
    def best(self) -> list[nn.Module]:
        """The networks of the best epoch so far on validation examples; those that predict where there are none."""
        if "best_0" not in self.copies:
            return self.predicting
        return [self.copied(f"best_{number}", number) for number in range(len(self.models))]

    @property
    def shifted(self) -> bool:
        """Whether the weights are, for this pass, not those that the step began with."""
        return bool(self.descent.origins)

    @property
    def completes_step(self) -> bool:
        """Whether `descend` updates weights now, and does not gather gradients for a later part or pass."""
        return self.descent.completes_step

    def whole_batch(self, rows: Tensor) -> Tensor:
        """What all ranks have for their shares of the batch, in its order; with one process the rows themselves.

        Args:
            rows: (b, ...) one for each example that the learner was given, without a graph.

        Returns:
            (B, ...).
        """
        return self.descent.ranks.gathered(rows, self.descent.total or len(rows))

    def own_rows(self, rows: Tensor) -> Tensor:
        """Of (B, ...) rows of the whole batch those of the examples that the learner was given, (b, ...)."""
        return self.descent.ranks.share(rows)

    def draws(self, purpose: str, *counts: int) -> np.random.Generator:
        """A NumPy generator for this step; other purposes or counts give independent streams."""
        return generator(self.seed, self._drawn_here(purpose), self.step, *counts)

    def torch_draws(self, purpose: str, *counts: int) -> torch.Generator:
        """A torch generator for this step; other purposes or counts give independent streams."""
        return torch_generator(self.seed, self._drawn_here(purpose), self.step, *counts)

    def _drawn_here(self, purpose: str) -> str:
        """The purpose, told apart for parts of a batch after the first."""
        part = self.descent.part * self.descent.ranks.world_size + self.descent.ranks.rank
        return f"{purpose}, part {part}" if part else purpose

    def descend(self, losses: Tensor, weights: Tensor, model: int = 0) -> None:
        """One optimiser and schedule step of one network down the weighted loss.

        The weighted loss is sum(weights * losses) / B: weights of 1 give the plain mean, and an
        example's pull depends on its own weight alone, not on those of its batch. Of a batch in
        parts, or on several ranks, gradients add up to those of the whole, and the last part steps.

        Args:
            losses: (B,) per-example losses in nats, with their graph.
            weights: (B,) weights of at least 0.
            model: which network.
        """
        descent, network, optimizer = self.descent, self.models[model], self.optimizers[model]
        with full_precision(self.device):
            if descent.part == 0:
                forget_gradients(optimizer)
            descent.add_gradients(losses, weights)
            if not descent.completes_gradient:
                return
            descent.ranks.sum_gradients(network)
            if descent.climbing:
                descent.origins[model] = climb(network, descent.sam_radius or 0.0)
                return
            self._update(model)

    def _update(self, model: int) -> None:
        descent, network = self.descent, self.models[model]
        if model in descent.origins:
            go_back(network, descent.origins.pop(model))
        if descent.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), descent.clip_norm)
        self.optimizers[model].step()
        self.schedulers[model].step()
        if descent.ema is not None:
            average = self.copied(f"ema_{model}", model)
            average_weights(average, network, early_decay(descent.ema, self.step))
            copy_statistics(average, network)
