"""Training: the settings of the training loop."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from learners.augment import AugmentName
from learners.class_weights import ClassWeighting
from learners.memory import BuffersOn
from learners.schedules import ScheduleName

OptimizerName = Literal["sgd", "adamw", "sam", "adamp", "sgdp"]
Precision = Literal["float32", "bfloat16"]
BufferType = Literal["float32", "float16"]
DeviceName = Literal["auto", "cpu", "cuda"]
BestBy = Literal["accuracy", "loss", "robust_accuracy"]

CHOICES = {
    "optimizer": get_args(OptimizerName),
    "schedule": get_args(ScheduleName),
    "best_by": get_args(BestBy),
    "class_weights": get_args(ClassWeighting),
    "precision": get_args(Precision),
    "buffers": get_args(BufferType),
    "buffers_on": get_args(BuffersOn),
    "device": get_args(DeviceName),
}
"""Settings that are one of several names."""

NEEDS = {
    "milestones": ("schedule", "step"),
    "sam_radius": ("optimizer", "sam"),
    "class_weight_beta": ("class_weights", "effective_number"),
    "crop_padding": ("augment", "crop"),
    "cutout_size": ("augment", "cutout"),
}
"""Settings that have an effect only where another one has, or contains, a value."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long to train, in which batches, with which optimiser, on which device, and on what view of the examples."""

    epochs: int = 20
    """Epochs, at least 1."""
    batch_size: int = 128
    """Examples in a batch, at least 2; the last batch of a pass may be smaller."""
    optimizer: OptimizerName = "sgd"
    """`sgd`, `adamw`, `sam` (sharpness-aware `sgd`, two passes a step), `adamp` or `sgdp`."""
    learning_rate: float = 0.02
    """Greatest learning rate, above 0; the default is that of ELR (Liu et al., 2020) on CIFAR-10."""
    momentum: float = 0.9
    """Momentum of `sgd`, `sam` and `sgdp`, or the first decay rate of `adamw` and `adamp`, in [0, 1)."""
    weight_decay: float = 5e-4
    """Weight decay on all parameters, at least 0."""
    sam_radius: float | None = None
    """How far `sam` climbs before it descends, above 0, in units of the weights; None is 0.05, the paper's."""
    schedule: ScheduleName = "cosine"
    """`cosine`: from the learning rate to 0 over all steps; `constant`: no change; `one_cycle`: up over 30 % of all
    steps, then down; `step`: a tenth after each milestone."""
    warm_up: float = 0.0
    """Share of all steps over which the learning rate first grows from near 0, in [0, 1)."""
    milestones: tuple[float, ...] | None = None
    """Shares of the steps after warm-up at which `step` falls, rising, in (0, 1); None is (0.5, 0.75)."""
    steps_per_epoch: int | None = None
    """Batches in an epoch, at least 1; None means one pass over the examples of weight above 0.

    A subset trained with the full data's number takes as many optimiser steps: its epochs are
    cut from consecutive passes over the subset, each freshly shuffled.
    """
    gradient_accumulation: int = 1
    """Parts of at least two examples, at least 1, in which a batch passes through the network one after the other to
    save memory; their gradients add up to the batch's. What a learner works out over a batch (a ranking, a mean) it
    then does by part."""
    clip_norm: float | None = None
    """Greatest length of a network's gradient, above 0; None leaves gradients as they are."""
    ema: float | None = None
    """Share of the old weights in a running average of the weights, in (0, 1); predictions and validation then use
    the average. Over the first steps t it is at most (1 + t) / (10 + t). None keeps no average."""
    early_stop: int | None = None
    """Epochs without a better one on the validation examples, at least 1, after which training ends; None is never."""
    best_by: BestBy = "accuracy"
    """What makes an epoch the best: the highest `accuracy`, the lowest `loss` or the highest `robust_accuracy` under
    the learner's own attack, on validation examples and by their given labels; of equal ones the first."""
    class_weights: ClassWeighting = "none"
    """What an example's weight is multiplied by for its class: `none`, `balanced` or `effective_number`."""
    class_weight_beta: float | None = None
    """Of `effective_number`, in [0, 1): near 1 is `balanced`, 0 is `none`; None is 0.999."""
    augment: tuple[AugmentName, ...] = ()
    """What happens to images in training, in this order: `crop`, `flip`, `cutout`; each at most once."""
    crop_padding: int | None = None
    """Pixels of black that `crop` cuts into, at least 1; None is 4."""
    cutout_size: int | None = None
    """Side in pixels of the square that `cutout` blackens, at least 1; None is half the shorter side."""
    precision: Precision = "float32"
    """`bfloat16` computes forward passes in mixed precision; weights, losses and buffers stay float32."""
    buffers: BufferType = "float32"
    """How memories with several numbers per example are held: `float16` halves their memory and rounds them to 11
    bits."""
    buffers_on: BuffersOn = "memory"
    """Where memories of examples are held: `memory`, or on the CPU also `disk`: a file in the directory for temporary
    files, which `TMPDIR` sets; numbers are the same."""
    compile: bool = False
    """Whether networks are compiled by torch.compile, which needs a GPU; results differ in the last digits."""
    device: DeviceName = "auto"
    """Where networks train: `cpu`, `cuda`, or `auto`: a GPU where there is one."""
    threads: int | None = None
    """CPU threads, at least 1; None leaves it to PyTorch. Other numbers of threads add in another order, so
    results differ in the last digits; one thread is often fastest for small networks on small images."""

    def __post_init__(self) -> None:
        lows = {"epochs": 1, "batch_size": 2, "gradient_accumulation": 1}
        lows |= dict.fromkeys(("steps_per_epoch", "threads", "early_stop", "crop_padding", "cutout_size"), 1)
        for name, low in lows.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be at least {low}, got {value}")
        for name, names in CHOICES.items():
            if getattr(self, name) not in names:
                raise ValueError(f"{name} must be one of {', '.join(names)}, got {getattr(self, name)!r}")
        for name in ("learning_rate", "sam_radius", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in ("momentum", "warm_up", "class_weight_beta"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must be in [0, 1), got {value}")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be in (0, 1), got {self.ema}")
        self._check_lists()
        self._check_effects()

    def _check_lists(self) -> None:
        shares = self.milestones
        if shares is not None and not (
            shares and all(0 < a < b for a, b in zip(shares, (*shares[1:], 1), strict=True))
        ):
            raise ValueError(f"milestones must rise and be in (0, 1), got {list(shares)}")
        for name in self.augment:
            if name not in get_args(AugmentName):
                raise ValueError(f"augment must be of {', '.join(get_args(AugmentName))}, got {name!r}")
        if len(set(self.augment)) < len(self.augment):
            raise ValueError(f"augment must name each change once, got {', '.join(self.augment)}")

    def _check_effects(self) -> None:
        for name, (other, value) in NEEDS.items():
            found = getattr(self, other)
            if getattr(self, name) is not None and value not in (found if isinstance(found, tuple) else (found,)):
                raise ValueError(f"{name} has no effect without {other} {value!r}; leave it out")
        if self.warm_up > 0 and self.schedule == "one_cycle":
            raise ValueError("schedule one_cycle has its own warm-up; set warm_up to 0 or take another schedule")

    def batches_per_pass(self, num_kept: int) -> int:
        """Batches in one pass over this many examples.

        The last, smaller batch is kept; a last batch of a single example joins the one before
        it, because batch normalisation has no variance over one example.
        """
        return max(1, -(-(num_kept - 1) // self.batch_size))

    def steps_in_epoch(self, num_kept: int) -> int:
        """Batches in one epoch on this many examples."""
        return self.steps_per_epoch or self.batches_per_pass(num_kept)
