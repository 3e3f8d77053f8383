"""Optimisers and schedules that training settings describe.

`sgd` and `adamw` are PyTorch's. `sam` is `sgd` that `learners.sharpness` walks twice a step. `adamp` and `sgdp`
are those of the package pytorch-optimizer: Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha, "AdamP: Slowing Down the Slowdown
for Momentum Optimizers on Scale-invariant Weights", ICLR 2021. https://arxiv.org/abs/2006.08217
"""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from learners.schedules import MILESTONES, schedule_factor
from learners.training import Training


def make_optimizer(training: Training, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimiser of these settings; PyTorch's own update all parameters by one fused kernel.

    Raises:
        ModuleNotFoundError: `adamp` or `sgdp` without their package.
    """
    if training.optimizer in ("sgd", "sam"):
        return SGD(
            parameters,
            lr=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            fused=True,
        )
    if training.optimizer == "adamw":
        return AdamW(
            parameters,
            lr=training.learning_rate,
            betas=(training.momentum, 0.999),
            weight_decay=training.weight_decay,
            fused=True,
        )
    return _projected(training, parameters)


def _projected(training: Training, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """AdamP or SGDP: steps along which the length of a scale-invariant weight does not grow."""
    try:
        from pytorch_optimizer import SGDP, AdamP
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"optimizer {training.optimizer} needs pytorch-optimizer: pip install 'tamis[optimizers]'"
        ) from error
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgdp":
        return SGDP(parameters, lr=rate, momentum=training.momentum, weight_decay=decay)
    return AdamP(parameters, lr=rate, betas=(training.momentum, 0.999), weight_decay=decay)


def make_scheduler(training: Training, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """The schedule of these settings, advanced once per optimiser step."""
    milestones = training.milestones or MILESTONES
    return LambdaLR(
        optimizer,
        lambda step: schedule_factor(
            training.schedule, step, total_steps, warm_up=training.warm_up, milestones=milestones
        ),
    )
