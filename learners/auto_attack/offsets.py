"""Offsets: the space in which AutoAttack's parts search, where every input lies at 0 and every unit is 1."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from learners.attacks import Objective, Region, Threat, input_gradient, per_row, region, row_lengths


@dataclass(frozen=True, kw_only=True, eq=False)
class OffsetSpace:
    """Some labelled inputs of a network, and how far from them a threat model reaches."""

    network: nn.Module
    """From inputs to (B, K) logits, in evaluation mode."""
    labels: Tensor
    """(B,) classes in [0, K)."""
    threat: Threat
    """Norm, radius and bounds."""
    box: Region
    """(B, ...) inputs, and the box around each."""
    lower: Tensor
    """Least value a feature may take, () or (D,)."""
    upper: Tensor
    """Greatest value a feature may take."""
    least: Tensor
    """(B, ...) least offset that the bounds allow, at most 0; -inf without a bound; 0 where the scale is 0."""
    most: Tensor
    """(B, ...) greatest offset that the bounds allow."""

    @classmethod
    def around(cls, network: nn.Module, inputs: Tensor, labels: Tensor, threat: Threat) -> "OffsetSpace":
        """The space around (B, ...) inputs.

        Raises:
            ValueError: an input outside the bounds, or bounds or scales that do not fit.
        """
        box = region(inputs, threat)
        lower, upper = threat.bounds(inputs)
        still = torch.zeros_like(inputs)
        return cls(
            network=network,
            labels=labels,
            threat=threat,
            box=box,
            lower=lower,
            upper=upper,
            least=torch.where(box.scale > 0, (lower - inputs) / box.scale, still),
            most=torch.where(box.scale > 0, (upper - inputs) / box.scale, still),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> "OffsetSpace":
        """The space of some rows, by a mask or by their numbers."""
        box = replace(self.box, centre=self.box.centre[rows], low=self.box.low[rows], high=self.box.high[rows])
        return replace(self, labels=self.labels[rows], box=box, least=self.least[rows], most=self.most[rows])

    def inputs(self, offsets: Tensor) -> Tensor:
        """(B, ...) inputs at offsets that need not lie in the ball, inside the bounds."""
        return (self.box.centre + self.box.scale * offsets).clamp(self.lower, self.upper)

    def reached(self, offsets: Tensor) -> Tensor:
        """(B, ...) inputs at offsets of `projected`, inside the box to the last digit."""
        return self.inputs(offsets).clamp(self.box.low, self.box.high)

    def projected(self, offsets: Tensor) -> Tensor:
        """The offsets moved into the ball, then inside the bounds, which only brings them nearer to 0."""
        radius = self.threat.epsilon
        if self.threat.norm == "linf":
            return offsets.clamp(-radius, radius).clamp(self.least, self.most)
        return (offsets * (radius / row_lengths(offsets)).clamp_max(1.0)).clamp(self.least, self.most)

    def sizes(self, offsets: Tensor) -> Tensor:
        """(B,) norm of each offset."""
        flat = offsets.flatten(1)
        return flat.abs().amax(dim=1) if self.threat.norm == "linf" else flat.norm(dim=1)

    def steepest(self, gradients: Tensor) -> Tensor:
        """(B, ...) directions of size 1 in which a function of these gradients rises most; 0 where it is flat."""
        return gradients.sign() if self.threat.norm == "linf" else gradients / row_lengths(gradients)

    def gradients(self, offsets: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
        """Gradient of an objective in the offsets, (B, ...), and the (B, K) logits there."""
        gradients, logits = input_gradient(self.network, self.inputs(offsets), objective)
        return gradients * self.box.scale, logits

    def logits(self, inputs: Tensor) -> Tensor:
        """(B, K) logits without a graph."""
        with torch.no_grad():
            logits: Tensor = self.network(inputs)
        return logits

    def fooled(self, logits: Tensor) -> Tensor:
        """(B,) whether the largest logit is not the label's."""
        return logits.argmax(dim=1) != self.labels


def chosen(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """(B, ...) rows of `new` where `rows` says so, of `old` elsewhere."""
    return torch.where(per_row(rows, new), new, old)
