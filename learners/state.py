"""TrainState: every mutable thing of a training run."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from learners.randomness import generator, torch_generator


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
    """Named (N, width) float32 memories of the learner, one row per position."""
    vectors: dict[str, Tensor] = field(default_factory=dict)
    """Named (size,) float64 memories of the learner that belong to no example."""
    copies: dict[str, nn.Module] = field(default_factory=dict)
    """Named further networks, made from a trained one and never descended."""

    def per_example(self, name: str, width: int, fill: float = 0.0) -> Tensor:
        """The buffer of that name, created on first use.

        Args:
            name: the learner's name for it, such as "elr_targets".
            width: numbers per example.
            fill: first value of every entry.

        Returns:
            (N, width) float32, to be read and written in place at `batch.positions`.
        """
        if name not in self.buffers:
            self.buffers[name] = torch.full((self.num_examples, width), fill)
        return self.buffers[name]

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
            self.vectors[name] = torch.full((size,), fill, dtype=torch.float64)
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

    def draws(self, purpose: str, *counts: int) -> np.random.Generator:
        """A NumPy generator for this step; other purposes or counts give independent streams."""
        return generator(self.seed, purpose, self.step, *counts)

    def torch_draws(self, purpose: str, *counts: int) -> torch.Generator:
        """A torch generator for this step; other purposes or counts give independent streams."""
        return torch_generator(self.seed, purpose, self.step, *counts)

    def descend(self, losses: Tensor, weights: Tensor, model: int = 0) -> None:
        """One optimiser and schedule step of one network down the weighted loss.

        The weighted loss is sum(weights * losses) / B: weights of 1 give the plain mean, and an
        example's pull depends on its own weight alone, not on those of its batch.

        Args:
            losses: (B,) per-example losses in nats, with their graph.
            weights: (B,) weights of at least 0.
            model: which network.
        """
        optimizer = self.optimizers[model]
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward((losses * weights).mean())
        optimizer.step()
        self.schedulers[model].step()
