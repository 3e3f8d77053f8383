"""Doubly robust instance-reweighted adversarial training (DRO-IRAT, DONE): the hardest examples count most.

Sow, Lin, Wang, Liang, "Doubly Robust Instance-Reweighted Adversarial Training", ICLR 2024.
https://arxiv.org/abs/2308.00311

Weights are the worst case in a KL neighbourhood of equal weights, which makes the objective
r log mean exp(loss / r) of the attacked losses; the mean inside is tracked from batch to batch.

Differs from the paper: its constants were not to be had, so the defaults are ours. The attack is
projected sign steps. In the implicit form they find a point, and the barrier problem of the loss
linearised there is then solved exactly, feature by feature; the first-order form leaves the
barrier out. While r falls, the tracked mean is carried over as the loss level r log mean exp.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacked import ATTACKED, remember_attacked
from learners.attacks import Attack, evaluation_mode, input_gradient, label_loss, pgd, region
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.log_barrier import barrier_solution, implicit_losses
from learners.reweighting import REMEMBERED, effective_share, remember_weights
from learners.state import TrainState


def updated_log_mean(losses: Tensor, weights: Tensor, before: Tensor, *, r: float, eta: float) -> Tensor:
    """Logarithm of the moving average of mean exp(loss / r).

    Args:
        losses: (B,) float64.
        weights: (B,) the data's own weights, above 0.
        before: scalar, the value so far; -inf before the first batch, which then counts alone.
        r: temperature in nats, above 0.
        eta: share of the new batch, in (0, 1].
    """
    batch = torch.logsumexp(losses / r + weights.log(), dim=0) - weights.sum().log()
    if torch.isinf(before):
        return batch
    share = losses.new_tensor(eta)
    return torch.logaddexp(torch.log1p(-share) + before, share.log() + batch)


def dro_weights(losses: Tensor, log_mean: Tensor, *, r: float) -> Tensor:
    """Weights exp(loss / r) / mean: all 1 as r grows without bound.

    Args:
        losses: (B,) in nats.
        log_mean: scalar of `updated_log_mean`.
        r: temperature in nats, above 0.

    Returns:
        (B,) above 0, with mean 1 where `log_mean` is of this batch alone.
    """
    return torch.exp(losses / r - log_mean)


@dataclass(frozen=True, kw_only=True)
class DROIRAT(Learner):
    """Weigh attacked losses by exp(loss / r); the data's own weights multiply these.

    Gives `dro_weights` and `dro_mean_weights`, (N, 1) weights of the latest visit and their mean over
    visits, and `adversarial_margins`, (N, 1) in logit units, and `adversarial_loss`, (N, 1) in nats, where recorded.
    """

    gives: ClassVar[tuple[str, ...]] = (*REMEMBERED, *ATTACKED)

    r: float = 2.0
    """Temperature in nats at the last step, above 0; `inf` is `pgd_training`; small values chase the worst losses."""
    initial_r: float | None = None
    """Temperature at the first step, from which it falls geometrically; None means `r` throughout."""
    eta: float = 0.1
    """Share of the new batch in the tracked mean, in (0, 1]."""
    barrier: float = 0.0
    """Strength of the log barrier, at least 0; 0 is the first-order form, above it the implicit gradient is used."""
    attack: Attack = Attack()
    """The attack of every step."""

    def __post_init__(self) -> None:
        if not self.r > 0:
            raise ValueError(f"r must be above 0, got {self.r}")
        if self.initial_r is not None and not self.r <= self.initial_r < math.inf:
            raise ValueError(f"initial_r must be finite and at least r, got {self.initial_r}")
        if not 0 < self.eta <= 1:
            raise ValueError(f"eta must be in (0, 1], got {self.eta}")
        if not 0 <= self.barrier < math.inf:
            raise ValueError(f"barrier must be at least 0, got {self.barrier}")
        if self.barrier > 0 and self.attack.norm != "linf":
            raise ValueError(f"the barrier needs attack.norm 'linf', got {self.attack.norm!r}")

    def temperature(self, state: TrainState) -> float:
        """The temperature of this step."""
        if self.initial_r is None:
            return self.r
        return float(self.initial_r * (self.r / self.initial_r) ** (state.step / max(1, state.total_steps - 1)))

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """One attack, one forward pass, the weights, one descent."""
        network = state.models[0]
        objective = label_loss(batch.labels)
        inputs = pgd(network, batch.inputs, objective, self.attack, state.torch_draws("attack"))
        if self.barrier > 0:
            with evaluation_mode(network):
                gradient, _ = input_gradient(network, inputs, objective)
            inputs, curvature = barrier_solution(region(batch.inputs, self.attack), gradient, self.barrier)
            inputs.requires_grad_()
        logits = network(inputs)
        losses = cross_entropy(logits, batch.labels, reduction="none")
        weights = self.weights(state, batch, losses.detach().double()).to(losses)
        descended = losses
        if self.barrier > 0:
            descended = implicit_losses(losses, inputs, curvature, strength=self.barrier)
        state.descend(descended, batch.weights * weights)
        remember_weights(state, batch, weights)
        remember_attacked(state, batch, logits)
        everyone = state.whole_batch(weights)
        metrics = {"effective_share": effective_share(everyone), "mean_weight": float(everyone.mean())}
        return StepReport(losses=losses.detach(), logits=logits.detach(), metrics=metrics)

    def weights(self, state: TrainState, batch: Batch, losses: Tensor) -> Tensor:
        """(B,) weights of these losses; moves the tracked mean on."""
        r = self.temperature(state)
        tracked = state.vector("dro_log_mean", size=2, fill=-math.inf)
        carried = bool(tracked[1] == r) or bool(torch.isinf(tracked[0]))
        before = tracked[0] if carried else tracked[0] * tracked[1] / r
        everyone, masses = state.whole_batch(losses), state.whole_batch(batch.weights.double())
        log_mean = updated_log_mean(everyone, masses, before, r=r, eta=self.eta)
        tracked[0], tracked[1] = log_mean, r
        return dro_weights(losses, log_mean, r=r)
