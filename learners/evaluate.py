"""Evaluation: logits of trained networks, accuracy, and the mean over seeds."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.batches import input_tensor, network_inputs
from storage.values import Examples


def predict_logits(models: Sequence[nn.Module], examples: Examples, *, batch_size: int = 500) -> NDArray[np.float32]:
    """Evaluation-mode logits of every example, rows of weight 0 included.

    Args:
        models: one network, or several whose logits are averaged.
        examples: N examples; labels are not read.
        batch_size: examples per forward pass, at least 1.

    Returns:
        (N, K) float32.
    """
    return evaluation_logits(models, input_tensor(examples.inputs), batch_size).numpy()


def evaluation_logits(models: Sequence[nn.Module], inputs: Tensor, batch_size: int) -> Tensor:
    """`predict_logits` for inputs that are already a tensor; modes are put back afterwards."""
    modes = [model.training for model in models]
    for model in models:
        model.eval()
    device = next((one.device for one in models[0].parameters()), inputs.device)
    with torch.inference_mode():
        parts = []
        for rows in torch.split(inputs, batch_size):
            batch = network_inputs(rows.to(device))
            logits = models[0](batch)
            for model in models[1:]:
                logits = logits + model(batch)
            parts.append((logits / len(models) if len(models) > 1 else logits).cpu())
    for model, mode in zip(models, modes, strict=True):
        model.train(mode)
    return torch.cat(parts)


def accuracy(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Share of examples whose largest logit is their label's, in [0, 1].

    Args:
        logits: (N, K) with N at least 1.
        labels: (N,) classes in [0, K).
    """
    return float((logits.argmax(axis=1) == labels).mean())


def per_class_accuracy(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Accuracy among the examples of each class.

    Args:
        logits: (N, K).
        labels: (N,) classes in [0, K).

    Returns:
        (K,) in [0, 1]; NaN for a class without examples.
    """
    num_classes = logits.shape[1]
    right = np.bincount(labels[logits.argmax(axis=1) == labels], minlength=num_classes)
    totals = np.bincount(labels, minlength=num_classes)
    shares: NDArray[np.float64] = np.full(num_classes, np.nan)
    np.divide(right, totals, out=shares, where=totals > 0)
    return shares


def mean_and_standard_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over R seeds and its standard error (sample standard deviation / sqrt(R)).

    Args:
        values: R at least 1 numbers, one per seed.

    Returns:
        The mean, and None as the error where R is 1.
    """
    if not len(values):
        raise ValueError("the mean over seeds needs at least one value")
    numbers = np.asarray(values, dtype=np.float64)
    error = float(numbers.std(ddof=1) / math.sqrt(len(numbers))) if len(numbers) > 1 else None
    return float(numbers.mean()), error
