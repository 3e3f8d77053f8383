"""A head over given embeddings, such as those of texts: linear, or with hidden layers."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import normalize

from learners.model import Model, Standardize, kept_rows
from learners.randomness import torch_seeded
from storage.values import Examples

Scaling = Literal["unit", "standard", "none"]


class UnitLength(nn.Module):
    """Each row divided by its length, and multiplied by the square root of its number of features."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, D) rows whose features have a mean square of 1; a row of zeros stays."""
        return normalize(inputs, dim=1) * math.sqrt(inputs.shape[1])


@dataclass(frozen=True, kw_only=True)
class EmbeddingHead(Model):
    """Scaled embeddings, hidden layers with ReLU and dropout, and one linear output."""

    widths: tuple[int, ...] = ()
    """Units of each hidden layer, each at least 1; empty is a linear probe."""
    scaling: Scaling = "unit"
    """`unit`: by each embedding's own length, since most embedders mean directions; `standard`: by the mean
    and deviation of each feature; `none`: as given."""
    dropout: float = 0.0
    """Rate before every linear layer, in [0, 1)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths must each be at least 1, got {self.widths}")
        if self.scaling not in get_args(Scaling):
            raise ValueError(f"scaling must be one of {', '.join(get_args(Scaling))}, got {self.scaling!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def build(self, examples: Examples, seed: int) -> nn.Module:
        """A network from (B, D) embeddings to (B, K) logits."""
        if examples.inputs.ndim != 2:
            raise ValueError(
                f"model embedding_head reads embeddings (N, D), got inputs of shape {examples.inputs.shape}; "
                "embed them first, or use a model for images"
            )
        layers: list[nn.Module] = []
        if self.scaling == "unit":
            layers.append(UnitLength())
        elif self.scaling == "standard":
            features = examples.inputs[kept_rows(examples)]
            layers.append(Standardize(features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)))
        width = examples.inputs.shape[1]
        with torch_seeded(seed, "weights"):
            for hidden in (*self.widths, None):
                if self.dropout:
                    layers.append(nn.Dropout(self.dropout))
                if hidden is None:
                    layers.append(nn.Linear(width, examples.num_classes))
                else:
                    layers += [nn.Linear(width, hidden), nn.ReLU()]
                    width = hidden
        return nn.Sequential(*layers)
