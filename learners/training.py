"""Training: the settings of the training loop, and the optimiser and schedule they describe."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "constant"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long to train, in which batches, and with which optimiser."""

    epochs: int = 20
    """Epochs, at least 1."""
    batch_size: int = 128
    """Examples in a batch, at least 2; the last batch of a pass may be smaller."""
    optimizer: OptimizerName = "sgd"
    """`sgd` or `adamw`."""
    learning_rate: float = 0.02
    """Learning rate at the start, above 0; the default is that of ELR (Liu et al., 2020) on CIFAR-10."""
    momentum: float = 0.9
    """Momentum of `sgd`, or the first decay rate of `adamw`, in [0, 1)."""
    weight_decay: float = 5e-4
    """Weight decay on all parameters, at least 0."""
    schedule: ScheduleName = "cosine"
    """`cosine`: from the learning rate to 0 over all steps; `constant`: no change."""
    steps_per_epoch: int | None = None
    """Batches in an epoch, at least 1; None means one pass over the examples of weight above 0.

    A subset trained with the full data's number takes as many optimiser steps: its epochs are
    cut from consecutive passes over the subset, each freshly shuffled.
    """
    threads: int | None = None
    """CPU threads, at least 1; None leaves it to PyTorch. Other numbers of threads add in another order, so
    results differ in the last digits; one thread is often fastest for small networks on small images."""

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 2)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("steps_per_epoch", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, names in (("optimizer", get_args(OptimizerName)), ("schedule", get_args(ScheduleName))):
            if getattr(self, name) not in names:
                raise ValueError(f"{name} must be one of {', '.join(names)}, got {getattr(self, name)!r}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")

    def batches_per_pass(self, num_kept: int) -> int:
        """Batches in one pass over this many examples.

        The last, smaller batch is kept; a last batch of a single example joins the one before
        it, because batch normalisation has no variance over one example.
        """
        return max(1, -(-(num_kept - 1) // self.batch_size))

    def steps_in_epoch(self, num_kept: int) -> int:
        """Batches in one epoch on this many examples."""
        return self.steps_per_epoch or self.batches_per_pass(num_kept)


def make_optimizer(training: Training, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimiser of these settings; one fused kernel updates all parameters."""
    if training.optimizer == "sgd":
        return SGD(
            parameters,
            lr=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            fused=True,
        )
    return AdamW(
        parameters,
        lr=training.learning_rate,
        betas=(training.momentum, 0.999),
        weight_decay=training.weight_decay,
        fused=True,
    )


def make_scheduler(training: Training, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """The schedule of these settings, advanced once per optimiser step."""
    if training.schedule == "constant":
        return LambdaLR(optimizer, lambda step: 1.0)
    return LambdaLR(optimizer, lambda step: 0.5 * (1.0 + math.cos(math.pi * step / total_steps)))
