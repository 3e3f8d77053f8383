"""Batch: the rows of one training step."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Some examples as tensors, ready for a network; no example occurs twice."""

    inputs: Tensor
    """(B, C, H, W) float32 images in [0, 1], or (B, D) float32 features."""
    labels: Tensor
    """(B,) int64 given classes in [0, K), possibly wrong."""
    positions: Tensor
    """(B,) int64 positions of the examples in [0, N): the rows of per-example buffers."""
    weights: Tensor
    """(B,) float32 weights above 0."""
    groups: Tensor | None = None
    """(B,) int64 subpopulation of each example, where the data set has one."""
    targets: Tensor | None = None
    """(B, K) float32 prior targets, where an earlier training left some."""

    def __len__(self) -> int:
        return len(self.labels)
