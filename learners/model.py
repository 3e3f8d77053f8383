"""Model: settings that build a network; and the standardising first layer that networks share."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storage.values import Examples


class Model(ABC):
    """A frozen dataclass of settings that builds a network for some examples.

    The file name of an implementation is its name in recipes.
    """

    revision: ClassVar[int] = 1
    """Raised whenever the built network changes: stored results of older revisions are not reused."""

    @abstractmethod
    def build(self, examples: Examples, seed: int) -> nn.Module:
        """A network with fresh weights.

        Args:
            examples: give the shape of the inputs, K, and the mean and deviation that the
                network standardises by (over rows of weight above 0).
            seed: of the first weights, at least 0.

        Returns:
            A network from inputs, as in `Batch`, to (B, K) logits.

        Raises:
            ValueError: the model is not made for inputs of this kind.
        """


class Standardize(nn.Module):
    """Shift and scale inputs by a fixed mean and deviation, kept as buffers beside the weights."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> None:
        """Take statistics that broadcast against one input; a deviation of 0 scales by 1."""
        super().__init__()
        scale = 1.0 / np.where(deviation > 0, deviation, 1.0)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs with mean 0 and deviation 1 over the training examples."""
        return (inputs - self.mean) * self.scale


def kept_rows(examples: Examples) -> NDArray[np.bool_]:
    """(N,) whether an example's weight is above 0."""
    if examples.weights is None:
        return np.ones(len(examples), dtype=np.bool_)
    return examples.weights > 0
