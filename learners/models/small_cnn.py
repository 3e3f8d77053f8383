"""A small convolutional network for small images, fast on a CPU."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from learners.image_inputs import channel_statistics, image_channels
from learners.model import Model, Standardize, kept_rows
from learners.randomness import torch_seeded
from storage.values import Examples

SMALLEST_SIDE = 8
"""Height and width from which three halvings leave a pixel."""


@dataclass(frozen=True, kw_only=True)
class SmallCNN(Model):
    """Three stride-2 convolutions with batch normalisation, one hidden layer, one linear output.

    Made for 28x28 and 32x32 images; large enough to memorise wrong labels.
    """

    width: int = 32
    """Channels of the first convolution, at least 1; the others have twice and four times as many."""
    hidden: int = 256
    """Units of the hidden layer, at least 1."""

    def __post_init__(self) -> None:
        for name in ("width", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def build(self, examples: Examples, seed: int) -> nn.Module:
        """A network from (B, C, H, W) images in [0, 1] to (B, K) logits."""
        channels = image_channels(examples, "small_cnn", least_side=SMALLEST_SIDE)
        mean, deviation = channel_statistics(examples.inputs[kept_rows(examples)])
        widths = (channels, self.width, 2 * self.width, 4 * self.width)
        height, breadth = (
            -(-side // 8) for side in examples.inputs.shape[1:3]
        )  # each stride-2 layer halves, rounding up
        layers: list[nn.Module] = [Standardize(mean, deviation)]
        with torch_seeded(seed, "weights"):
            for before, after in pairwise(widths):
                layers += [
                    nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                ]
            layers += [
                nn.Flatten(),
                nn.Linear(widths[-1] * height * breadth, self.hidden),
                nn.ReLU(inplace=True),
                nn.Linear(self.hidden, examples.num_classes),
            ]
        network = nn.Sequential(*layers)
        for parameter in network.parameters():
            if parameter.ndim == 4:  # convolutions are faster on a CPU with channels last
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return network
