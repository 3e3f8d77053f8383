"""Wide residual networks (WRN) for 32x32 images: 28-10 by default, 34-10 by its depth.

Zagoruyko, Komodakis, "Wide Residual Networks", BMVC 2016. https://arxiv.org/abs/1605.07146
"""

from dataclasses import dataclass

from torch import nn

from learners.model import Model
from learners.residual import Stage, residual_network
from storage.values import Examples


@dataclass(frozen=True, kw_only=True)
class WideResNet(Model):
    """Three stages of pre-activation blocks with 16, 32 and 64 times the factor channels."""

    depth: int = 28
    """Convolutions, 6 * n + 4 with n at least 1: 28, 34, 40."""
    widen_factor: int = 10
    """How many times wider than a thin residual network, at least 1."""
    dropout: float = 0.0
    """Rate between the two convolutions of a block, in [0, 1); the paper has 0 or 0.3."""

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth must be 6 * n + 4 with n at least 1, such as 28 or 34, got {self.depth}")
        if self.widen_factor < 1:
            raise ValueError(f"widen_factor must be at least 1, got {self.widen_factor}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def build(self, examples: Examples, seed: int) -> nn.Module:
        """A network from (B, C, H, W) images in [0, 1] to (B, K) logits."""
        num_blocks = (self.depth - 4) // 6
        stages = [
            Stage(width=width * self.widen_factor, num_blocks=num_blocks, stride=stride)
            for width, stride in ((16, 1), (32, 2), (64, 2))
        ]
        return residual_network(examples, seed, model="wide_resnet", stem=16, stages=stages, dropout=self.dropout)
