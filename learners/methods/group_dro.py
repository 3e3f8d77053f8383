"""Group distributionally robust optimisation (group DRO): the worst groups count most.

Sagawa, Koh, Hashimoto, Liang, "Distributionally Robust Neural Networks for Group Shifts: On the
Importance of Regularization for Worst-Case Generalization", ICLR 2020, algorithm 1.
https://arxiv.org/abs/1911.08731

Differs from the paper: groups are not sampled equally often, and a group's mean respects the data's
own weights. The adjustment for the sizes of groups is off by default; sizes are counted in the
first epoch, and it starts with the second. It moves shares alone, never reported losses, and not the
share of a group that a batch lacks. Shares are part of every checkpoint.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacks import Attack, label_loss, pgd
from learners.batch import Batch
from learners.learner import Learner, StepReport
from learners.reweighting import REMEMBERED, VISITS, remember_weights
from learners.state import TrainState

Groups = Literal["group", "label"]


def group_means(losses: Tensor, weights: Tensor, groups: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    """Weighted mean loss of each group, 0 for an absent one, and each group's examples in the batch.

    Args:
        losses: (B,) in nats.
        weights: (B,) the data's own weights, above 0.
        groups: (B,) in [0, G).
        num_groups: G.

    Returns:
        (G,) float64 means and (G,) float64 counts.
    """
    zeros = losses.new_zeros(num_groups, dtype=torch.float64)
    mass = zeros.index_add(0, groups, weights.double())
    sums = zeros.index_add(0, groups, (weights * losses).double())
    counts = zeros.index_add(0, groups, torch.ones_like(losses, dtype=torch.float64))
    return torch.where(mass > 0, sums / mass, 0.0), counts


def updated_group_shares(shares: Tensor, means: Tensor, *, eta: float) -> Tensor:
    """Shares after one exponentiated step up the groups' losses.

    Args:
        shares: (G,) above 0, with sum 1.
        means: (G,) mean loss of each group, 0 for an absent one.
        eta: step size, at least 0.

    Returns:
        (G,) with sum 1.
    """
    return torch.softmax(shares.log() + eta * means, dim=0)


def adjusted_means(means: Tensor, counts: Tensor, sizes: Tensor, *, adjustment: float) -> Tensor:
    """(G,) means plus adjustment / sqrt(size) for groups of a positive count; 0 for an absent one.

    Args:
        means: (G,) mean losses, left as they are.
        counts: (G,) examples of each group in the batch.
        sizes: (G,) examples of each group in the training data.
        adjustment: in nats, at least 0.
    """
    return torch.where(counts > 0, means + adjustment / sizes.clamp_min(1.0).sqrt(), 0.0)


def group_dro_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each example, of which each group's mean is taken.

    Args:
        logits: (B, K) of inputs, attacked or not.
        labels: (B,) given classes in [0, K).

    Returns:
        (B,) losses in nats, at least 0.
    """
    return cross_entropy(logits, labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class GroupDRO(Learner):
    """Minimise the loss of the groups that do worst, followed by a share per group.

    Gives `dro_weights` and `dro_mean_weights`: (N, 1) weights of the latest visit and their mean over visits.
    """

    gives: ClassVar[tuple[str, ...]] = REMEMBERED

    eta: float = 0.01
    """Step size of the groups' shares, at least 0; 0 counts all groups of a batch the same; the authors' value."""
    groups: Groups = "group"
    """`group`: the data set's own groups; `label`: every class is a group."""
    adjustment: float = 0.0
    """Generalisation adjustment, at least 0, the paper's C: a group's loss counts as C / sqrt(size) nats higher."""
    attack: Attack | None = None
    """Attack every batch first; None trains on the inputs as they are."""

    def __post_init__(self) -> None:
        if not 0 <= self.eta < float("inf"):
            raise ValueError(f"eta must be at least 0, got {self.eta}")
        if not 0 <= self.adjustment < float("inf"):
            raise ValueError(f"adjustment must be at least 0, got {self.adjustment}")
        if self.groups not in get_args(Groups):
            raise ValueError(f"groups must be one of {', '.join(get_args(Groups))}, got {self.groups!r}")

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        """An attack if there is one, one forward pass, the groups' shares, one descent."""
        groups, num_groups = self.grouped(state, batch)
        network, inputs = state.models[0], batch.inputs
        if self.attack:
            inputs = pgd(network, inputs, label_loss(batch.labels), self.attack, state.torch_draws("attack"))
        logits = network(inputs)
        losses = group_dro_losses(logits, batch.labels)
        shares = state.vector("group_shares", size=num_groups, fill=1 / num_groups)
        everyone, masses = state.whole_batch(groups), state.whole_batch(batch.weights)
        means, counts = group_means(state.whole_batch(losses.detach()), masses, everyone, num_groups)
        sizes = self.sizes(state, batch, everyone, num_groups)
        risks = adjusted_means(means, counts, sizes, adjustment=self.adjustment if state.epoch else 0.0)
        shares.copy_(updated_group_shares(shares, risks, eta=self.eta))
        weights = (len(everyone) * shares / counts)[groups].to(losses)
        state.descend(losses, batch.weights * weights)
        remember_weights(state, batch, weights)
        metrics = {"worst_group_loss": float(means.max()), "largest_share": float(shares.max())}
        return StepReport(losses=losses.detach(), logits=logits.detach(), metrics=metrics)

    def sizes(self, state: TrainState, batch: Batch, groups: Tensor, num_groups: int) -> Tensor:
        """(G,) examples of each group visited so far, this batch included, whose (B,) groups are given."""
        if self.adjustment > 0 and state.total_epochs == 1:
            raise ValueError("adjustment starts with the second epoch, and training has one; set it to 0")
        sizes = state.vector("group_sizes", size=num_groups)
        fresh = state.per_example(VISITS, width=1)[batch.positions][:, 0] == 0
        return sizes.index_add_(0, groups, state.whole_batch(fresh.double()))

    def grouped(self, state: TrainState, batch: Batch) -> tuple[Tensor, int]:
        """(B,) groups of the batch, and G."""
        if self.groups == "label":
            return batch.labels, state.num_classes
        if batch.groups is None or state.num_groups is None:
            raise ValueError(
                "learner group_dro needs groups, and these examples have none; "
                'declare the group column, or set groups = "label"'
            )
        return batch.groups, state.num_groups
