"""Conditional value at risk (CVaR) as the objective: train on the worst fraction of every batch.

Levy, Carmon, Duchi, Sidford, "Large-Scale Methods for Distributionally Robust Optimization",
NeurIPS 2020, the mini-batch estimator. https://arxiv.org/abs/2010.05893

A batch's worst fraction underestimates that of the data, the more the smaller the batch.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacks import Attack, label_loss, pgd
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.reweighting import REMEMBERED, effective_share, remember_weights
from learners.state import TrainState


def cvar_weights(losses: Tensor, weights: Tensor, *, fraction: float) -> Tensor:
    """Weights of the worst fraction: 1 / fraction for its examples, 0 for others, a part for the one on the edge.

    Args:
        losses: (B,) in nats.
        weights: (B,) the data's own weights, above 0: the mass of each example.
        fraction: share of the mass that counts, in (0, 1].

    Returns:
        (B,) in [0, 1 / fraction]; their mean over the mass is 1. Of equal losses the lower row counts first.
    """
    order = torch.argsort(losses, descending=True, stable=True)
    mass = weights[order].double()
    left = fraction * mass.sum() - (mass.cumsum(0) - mass)
    shares = torch.empty_like(mass)
    shares[order] = (left / mass).clamp(0.0, 1.0) / fraction
    return torch.ones_like(losses) if fraction == 1 else shares.to(losses)


def cvar_dro_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each example: what is ranked and minimised.

    Args:
        logits: (B, K) of inputs, attacked or not.
        labels: (B,) given classes in [0, K).

    Returns:
        (B,) losses in nats, at least 0.
    """
    return cross_entropy(logits, labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class CVaRDRO(Learner):
    """Descend on the largest losses of a batch alone.

    Gives `dro_weights` and `dro_mean_weights`: (N, 1) weights of the latest visit and their mean over visits.
    """

    gives: ClassVar[tuple[str, ...]] = REMEMBERED

    fraction: float = 0.5
    """Share of each batch that counts, in (0, 1]; 1 is plain training; the default is ours."""
    attack: Attack | None = None
    """Attack every batch first; None trains on the inputs as they are."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """An attack if there is one, one forward pass, one descent on the worst losses."""
        network, inputs = state.models[0], batch.inputs
        if self.attack:
            inputs = pgd(network, inputs, label_loss(batch.labels), self.attack, state.torch_draws("attack"))
        logits = network(inputs)
        losses = cvar_dro_losses(logits, batch.labels)
        everyone, masses = state.whole_batch(losses.detach()), state.whole_batch(batch.weights)
        weights = state.own_rows(cvar_weights(everyone, masses, fraction=self.fraction))
        state.descend(losses, batch.weights * weights)
        remember_weights(state, batch, weights)
        metrics = {"effective_share": effective_share(state.whole_batch(weights))}
        return StepReport(losses=losses.detach(), logits=logits.detach(), metrics=metrics)
