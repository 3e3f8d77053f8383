"""Pre-activation residual networks: blocks, stages and the whole, for small images.

He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016.
https://arxiv.org/abs/1603.05027
First weights: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015.
https://arxiv.org/abs/1502.01852
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from learners.image_inputs import channel_statistics, image_channels
from learners.model import Standardize, kept_rows
from learners.randomness import torch_seeded
from storage.values import Examples

SMALLEST_SIDE = 8
"""Height and width from which three halvings leave a pixel."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks of one width; the first of them takes the stride."""

    width: int
    """Channels."""
    num_blocks: int
    """Blocks of two convolutions each."""
    stride: int
    """Of the first block: 2 halves height and width."""


class PreActivationBlock(nn.Module):
    """Twice batch normalisation, ReLU and a 3x3 convolution, added to the input.

    Where shape changes, the shortcut is a 1x1 convolution of the activated input.
    """

    def __init__(self, before: int, after: int, stride: int, dropout: float) -> None:
        """Take the channels before and after, the stride of the first convolution and the rate between the two."""
        super().__init__()
        self.first_norm = nn.BatchNorm2d(before)
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        same = before == after and stride == 1
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, after, H / stride, W / stride) from (B, before, H, W)."""
        active = self.first_norm(inputs).relu()
        kept = inputs if self.shortcut is None else self.shortcut(active)
        moved = self.second(self.dropout(self.second_norm(self.first(active)).relu()))
        added: Tensor = kept + moved
        return added


class GlobalMean(nn.Module):
    """The mean over height and width."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C) from (B, C, H, W)."""
        return inputs.mean(dim=(2, 3))


def residual_network(
    examples: Examples, seed: int, *, model: str, stem: int, stages: Sequence[Stage], dropout: float
) -> nn.Module:
    """A network from (B, C, H, W) images in [0, 1] to (B, K) logits.

    Args:
        examples: give channels, K and the statistics of the pixels.
        seed: of the first weights, at least 0.
        model: its name, for messages.
        stem: channels of the first convolution.
        stages: from the input to the output.
        dropout: rate between the two convolutions of a block, in [0, 1).

    Raises:
        ValueError: the examples are no images, or are too small.
    """
    channels = image_channels(examples, model, least_side=SMALLEST_SIDE)
    mean, deviation = channel_statistics(examples.inputs[kept_rows(examples)])
    with torch_seeded(seed, "weights"):
        layers: list[nn.Module] = [Standardize(mean, deviation), nn.Conv2d(channels, stem, 3, padding=1, bias=False)]
        width = stem
        for stage in stages:
            for number in range(stage.num_blocks):
                layers.append(PreActivationBlock(width, stage.width, stage.stride if number == 0 else 1, dropout))
                width = stage.width
        layers += [nn.BatchNorm2d(width), nn.ReLU(), GlobalMean(), nn.Linear(width, examples.num_classes)]
        network = nn.Sequential(*layers)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return network
