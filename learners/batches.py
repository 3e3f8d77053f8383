"""Examples as tensors, the order of training, and the batches cut from it.

The tensors are prepared once and batches are gathered from them by position: for arrays in
memory this costs far less per step than worker processes would.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.batch import Batch
from learners.model import kept_rows
from learners.randomness import generator
from learners.training import Training
from storage.values import Array, Examples


def input_tensor(inputs: Array) -> Tensor:
    """Inputs as a tensor of the same shape and type, sharing memory where that is safe.

    Raises:
        TypeError: neither uint8 images (N, H, W[, C]) nor float32 features (N, D).
    """
    images = inputs.dtype == np.uint8 and inputs.ndim in (3, 4)
    features = inputs.dtype == np.float32 and inputs.ndim == 2
    if not (images or features):
        raise TypeError(
            "inputs must be uint8 images (N, H, W) or (N, H, W, C), or float32 features (N, D), "
            f"got {inputs.dtype} of shape {inputs.shape}"
        )
    return torch.from_numpy(np.require(inputs, requirements=["C", "W"]))


def network_inputs(rows: Tensor) -> Tensor:
    """Some rows of an `input_tensor` as a network reads them.

    Args:
        rows: (B, H, W) or (B, H, W, C) uint8, or (B, D) float32.

    Returns:
        (B, C, H, W) float32 in [0, 1], or (B, D) float32.
    """
    if rows.dtype != torch.uint8:
        return rows
    scaled = rows.to(torch.float32).div_(255.0)
    return scaled.unsqueeze(1) if rows.ndim == 3 else scaled.permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExampleTensors:
    """Labelled examples as tensors, from which batches are gathered."""

    inputs: Tensor
    """As `input_tensor` makes them: images stay uint8 in memory."""
    labels: Tensor
    """(N,) int64 given classes."""
    weights: Tensor
    """(N,) float32 weights."""
    groups: Tensor | None
    """(N,) int64 groups, or None."""

    @classmethod
    def of(cls, examples: Examples) -> "ExampleTensors":
        """Tensors of these examples.

        Raises:
            ValueError: the examples have no labels.
        """
        if examples.labels is None:
            raise ValueError("training needs labels, and these examples have none")
        weights = np.ones(len(examples), np.float32) if examples.weights is None else examples.weights
        return cls(
            inputs=input_tensor(examples.inputs),
            labels=torch.tensor(examples.labels, dtype=torch.int64),
            weights=torch.tensor(weights, dtype=torch.float32),
            groups=None if examples.groups is None else torch.tensor(examples.groups, dtype=torch.int64),
        )

    def batch(self, positions: Tensor) -> Batch:
        """The examples at these (B,) positions."""
        return Batch(
            inputs=network_inputs(self.inputs.index_select(0, positions)),
            labels=self.labels.index_select(0, positions),
            positions=positions,
            weights=self.weights.index_select(0, positions),
            groups=None if self.groups is None else self.groups.index_select(0, positions),
        )


def kept_positions(examples: Examples) -> NDArray[np.int64]:
    """(M,) positions of the examples with weight above 0: all that training ever visits.

    Raises:
        ValueError: fewer than two are left.
    """
    kept: NDArray[np.int64] = np.flatnonzero(kept_rows(examples))
    if len(kept) < 2:
        raise ValueError(f"training needs at least 2 examples of weight above 0, got {len(kept)} of {len(examples)}")
    return kept


def batch_positions(
    kept: NDArray[np.int64], training: Training, *, seed: int, first_step: int, num_steps: int
) -> Iterator[Tensor]:
    """Positions of consecutive batches of a run.

    A run is an endless row of passes over the kept examples, each in a fresh order and cut
    into batches; step s takes batch s. So no example occurs twice in a batch, and the batches
    of any epoch follow from the seed and the step alone.

    Args:
        kept: (M,) positions of the examples with weight above 0.
        training: gives the size of the batches.
        seed: of the order.
        first_step: number of the first batch asked for, counted from 0 over the whole run.
        num_steps: how many batches.

    Yields:
        (B,) int64 positions.
    """
    per_pass = training.batches_per_pass(len(kept))
    order = torch.empty(0, dtype=torch.int64)
    shuffled = -1
    for step in range(first_step, first_step + num_steps):
        number, place = divmod(step, per_pass)
        if number != shuffled:
            order = torch.from_numpy(generator(seed, "order", number).permutation(kept))
            shuffled = number
        start = place * training.batch_size
        stop = start + training.batch_size if place + 1 < per_pass else len(kept)
        yield order[start:stop]
