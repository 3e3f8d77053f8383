"""A multilayer perceptron for tables."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from learners.model import Model, Standardize, kept_rows
from learners.randomness import torch_seeded
from storage.values import Examples


@dataclass(frozen=True, kw_only=True)
class MLP(Model):
    """Standardised features, hidden layers with ReLU, and one linear output."""

    widths: tuple[int, ...] = (128, 128)
    """Units of each hidden layer, each at least 1; empty gives logistic regression."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths must each be at least 1, got {self.widths}")

    def build(self, examples: Examples, seed: int) -> nn.Module:
        """A network from (B, D) features to (B, K) logits."""
        if examples.inputs.ndim != 2:
            raise ValueError(
                f"model mlp reads tables (N, D), got inputs of shape {examples.inputs.shape}; use small_cnn for images"
            )
        features = examples.inputs[kept_rows(examples)]
        layers: list[nn.Module] = [
            Standardize(features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64))
        ]
        with torch_seeded(seed, "weights"):
            width = features.shape[1]
            for hidden in self.widths:
                layers += [nn.Linear(width, hidden), nn.ReLU()]
                width = hidden
            layers.append(nn.Linear(width, examples.num_classes))
        return nn.Sequential(*layers)
