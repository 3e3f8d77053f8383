"""Folds: training without some rows, and the probabilities that its networks then give to those."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from learners.batches import input_tensor
from learners.evaluate import evaluation_logits
from learners.signals import PASS_BATCH_SIZE
from storage.values import Examples


def without_fold(examples: Examples, held_out: NDArray[np.bool_]) -> Examples:
    """The examples, those of the fold with weight 0: they enter no batch and no statistic of the inputs.

    Args:
        examples: N examples.
        held_out: (N,) whether an example is of the fold.
    """
    weights = np.ones(len(examples), dtype=np.float32) if examples.weights is None else examples.weights
    return replace(examples, weights=np.where(held_out, np.float32(0), weights))


def held_out_probs(
    networks: Sequence[nn.Module], examples: Examples, held_out: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """What networks think of the examples of a fold, in evaluation mode and without augmentation.

    Args:
        networks: one, or several whose logits are averaged.
        examples: N examples; labels and weights are not read.
        held_out: (N,) whether an example is of the fold.

    Returns:
        (M, K) probabilities of the M examples of the fold, in their order; 1 in sum but for rounding.
    """
    inputs = input_tensor(examples.inputs[held_out])
    probs: NDArray[np.float32] = torch.softmax(evaluation_logits(networks, inputs, PASS_BATCH_SIZE), dim=1).numpy()
    return probs
