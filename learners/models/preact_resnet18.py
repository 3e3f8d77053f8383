"""PreAct-ResNet-18 for 32x32 images, the usual network of robust and noisy-label training.

He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016.
https://arxiv.org/abs/1603.05027

Differs from the paper, as everywhere on small images: the first convolution is 3x3 without stride
and nothing is pooled before the last stage.
"""

from dataclasses import dataclass

from torch import nn

from learners.model import Model
from learners.residual import Stage, residual_network
from storage.values import Examples


@dataclass(frozen=True, kw_only=True)
class PreActResNet18(Model):
    """Four stages of two pre-activation blocks, then batch normalisation, the mean over the image and a linear output.

    11.2 million weights at the default width.
    """

    width: int = 64
    """Channels of the first stage, at least 1; each further one has twice as many."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")

    def build(self, examples: Examples, seed: int) -> nn.Module:
        """A network from (B, C, H, W) images in [0, 1] to (B, K) logits."""
        stages = [
            Stage(width=self.width * factor, num_blocks=2, stride=1 if factor == 1 else 2) for factor in (1, 2, 4, 8)
        ]
        return residual_network(examples, seed, model="preact_resnet18", stem=self.width, stages=stages, dropout=0.0)
