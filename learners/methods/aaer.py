"""Abnormal adversarial examples regularisation (AAER): single-step training without catastrophic overfitting.

Lin, Yu, Liu, "Eliminating Catastrophic Overfitting Via Abnormal Adversarial Examples
Regularization", NeurIPS 2023. https://arxiv.org/abs/2404.08154

Examples whose loss falls under a single-step attack appear just before such training loses all its
robustness; AAER penalises how far the outputs move on them.

Differs from the authors' code (https://github.com/tmllab/2023_NeurIPS_AAER): there the change of loss
carries no gradient, whatever lam2; here it does, so lam2 = 0 trains as that code does.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacked import ATTACKED, remember_attacked
from learners.attacks import Bound, Scales, Threat, region
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.state import TrainState


def aaer_losses(
    start_logits: Tensor, logits: Tensor, labels: Tensor, *, lam1: float, lam2: float, lam3: float
) -> tuple[Tensor, Tensor]:
    """Cross entropy after the attack, plus each abnormal example's part of the regulariser.

    With A the abnormal examples and moves ||logits - start_logits||^2, the mean of the second terms is
    lam1 * |A| / B * (lam2 * mean of the loss's fall over A + lam3 * max(mean move over A - over the rest, 0)),
    or 0 where all or none are abnormal.

    Args:
        start_logits: (B, K) at the random start, without a graph.
        logits: (B, K) after the attack.
        labels: (B,) given classes in [0, K).
        lam1: weight of the regulariser.
        lam2: weight of the loss's fall in it.
        lam3: weight of the excess move in it.

    Returns:
        (B,) losses in nats, and (B,) which examples are abnormal: their loss fell under attack.
    """
    before = cross_entropy(start_logits, labels, reduction="none")
    after = cross_entropy(logits, labels, reduction="none")
    abnormal = before > after.detach()
    if not abnormal.any() or abnormal.all():
        return after, abnormal
    moves = ((logits - start_logits) ** 2).sum(dim=1)
    usual = moves.detach()[~abnormal].mean()
    excess = (moves.detach()[abnormal].mean() > usual).to(moves) * (moves - usual)
    return after + lam1 * torch.where(abnormal, lam2 * (before - after) + lam3 * excess, 0.0), abnormal


@dataclass(frozen=True, kw_only=True)
class AAER(Learner):
    """One signed step from a random start, regularised; the network stays in training mode throughout.

    The defaults are RS-AAER on CIFAR-10 at 8/255; N-AAER has start_range 2, step_range 1 and no clipping.
    Gives `adversarial_margins` and, where it is recorded, `adversarial_loss`: (N, 1) margins in logit units and cross
    entropy in nats of each example's latest attacked visit.
    """

    gives: ClassVar[tuple[str, ...]] = ATTACKED

    epsilon: float = 8 / 255
    """Radius, at least 0, in input units times `scales`; 0 is plain training."""
    start_range: float = 1.0
    """Reach of the uniform random start, in units of epsilon, at least 0."""
    step_range: float = 1.25
    """Length of the signed step, in units of epsilon, at least 0."""
    clip: float | None = 1.0
    """Greatest change in the end, in units of epsilon, above 0; None leaves it to the bounds."""
    lam1: float = 1.0
    """Weight of the regulariser, at least 0; 0 is random-start FGSM training."""
    lam2: float = 0.0
    """Weight of the fall of the loss, at least 0."""
    lam3: float = 1.5
    """Weight of the excess move of the outputs, at least 0; tune it with epsilon."""
    lower: Bound = None
    """Least value an attacked feature may take, as in `Threat`."""
    upper: Bound = None
    """Greatest value an attacked feature may take."""
    scales: Scales = None
    """Unit of each of a table's features, as in `Threat`."""

    def __post_init__(self) -> None:
        for name in ("epsilon", "start_range", "step_range", "lam1", "lam2", "lam3"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be above 0, got {self.clip}")
        self.threat(1.0)

    def threat(self, reach: float) -> Threat:
        """How far inputs may be moved: so many times epsilon, inside the bounds."""
        return Threat(epsilon=self.epsilon * reach, lower=self.lower, upper=self.upper, scales=self.scales)

    def attacked(self, state: TrainState, batch: Batch) -> tuple[Tensor, Tensor]:
        """Inputs after the step, and the (B, K) logits at the random start."""
        box = region(batch.inputs, self.threat(self.start_range + self.step_range if self.clip is None else self.clip))
        around = region(batch.inputs, self.threat(self.start_range))
        unit = self.epsilon * box.scale
        draws = 2 * torch.rand(batch.inputs.shape, generator=state.torch_draws("attack")) - 1
        start = batch.inputs + unit * self.start_range * draws.to(batch.inputs)
        start = start.clamp(around.low, around.high).requires_grad_()
        logits = state.models[0](start)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, batch.labels, reduction="sum"), start)
        moved = start.detach() + unit * self.step_range * gradient.sign()
        return moved.clamp(box.low, box.high), logits.detach()

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """Two forward passes with a signed step between them, one descent."""
        inputs, start_logits = self.attacked(state, batch)
        logits = state.models[0](inputs)
        losses, abnormal = aaer_losses(
            start_logits, logits, batch.labels, lam1=self.lam1, lam2=self.lam2, lam3=self.lam3
        )
        state.descend(losses, batch.weights)
        remember_attacked(state, batch, logits)
        metrics = {"abnormal": float(abnormal.float().mean())}
        return StepReport(losses=losses.detach(), logits=logits.detach(), metrics=metrics)
