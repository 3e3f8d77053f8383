"""Tiny worlds whose truth is known, for tests of what finds it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from storage.index import ExampleIndex
from storage.values import Signals


@dataclass(frozen=True, kw_only=True)
class World:
    """Signals of a training run on labels of which some are known to be wrong."""

    signals: Signals
    clean_labels: NDArray[np.int64]
    """(N,) true classes."""
    wrong: NDArray[np.bool_]
    """(N,) whether the given label differs from the true class."""


def planted_flips(
    *,
    num_examples: int = 200,
    num_classes: int = 4,
    rate: float = 0.25,
    num_seeds: int = 2,
    num_epochs: int = 6,
    seed: int = 0,
) -> World:
    """A model that sees the true class from the start and learns wrong labels by heart later.

    At epoch 1 the logits favour the true class alone; at the last epoch the given label alone, so
    that nothing is left to tell wrong labels by. ELR's targets average predictions that stay with the true class,
    and so do out-of-fold probabilities; PS-KD remembers what training saw at each visit.
    Attacks fool the wrong labels, which DRO therefore weighs more.
    Feature norms lie in [2, 4] and know nothing of the labels.
    Exactly round(rate * N) labels are wrong. Ids sort as texts, not as numbers.
    """
    rng = np.random.default_rng(seed)
    clean = rng.integers(num_classes, size=num_examples)
    labels = clean.copy()
    flipped = rng.permutation(num_examples)[: round(rate * num_examples)]
    labels[flipped] = (clean[flipped] + rng.integers(1, num_classes, size=len(flipped))) % num_classes

    onehot = np.eye(num_classes)
    memorised = np.linspace(0, 1, num_epochs) ** 2
    mean = 4 * ((1 - memorised)[:, None] * onehot[clean][:, None] + memorised[:, None] * onehot[labels][:, None])
    shape = (num_seeds, num_examples, num_epochs, num_classes)
    steady = softmax(4 * onehot[clean][:, None] + rng.normal(size=shape), axis=-1)
    targets = np.zeros(shape)
    memory = np.zeros((num_seeds, num_examples, num_classes))
    for epoch in range(num_epochs):
        memory = 0.7 * memory + 0.3 * steady[:, :, epoch]
        targets[:, :, epoch] = memory
    arrays = {
        "label": labels,
        "logits": (mean + rng.normal(size=shape)).astype(np.float32),
        "train_logits": (mean + rng.normal(size=shape)).astype(np.float32),
        "elr_targets": targets.astype(np.float32),
    }
    arrays["oof_probs"] = softmax(4 * onehot[clean][:, None] + rng.normal(size=shape), axis=-1).astype(np.float32)
    arrays["feature_norm"] = rng.uniform(2, 4, size=shape[:3]).astype(np.float32)
    attacked = np.where(labels == clean, 2.0, -2.0)[:, None, None] + rng.normal(size=(*shape[:3], 1))
    arrays["adversarial_margins"] = attacked.astype(np.float32)
    arrays["dro_weights"] = np.exp(-attacked / 4).astype(np.float32)
    visits = np.arange(1, num_epochs + 1)[:, None]
    arrays["dro_mean_weights"] = (np.exp(-attacked / 4).cumsum(axis=2) / visits).astype(np.float32)
    arrays["ps_kd_targets"] = softmax(arrays["train_logits"], axis=-1)
    for array in arrays.values():
        array.flags.writeable = False
    epochs = tuple(range(1, num_epochs + 1))
    signals = Signals(
        index=ExampleIndex(f"world:{number}" for number in range(num_examples)),
        arrays=arrays,
        epochs=dict.fromkeys((name for name in arrays if name != "label"), epochs),
    )
    return World(signals=signals, clean_labels=clean, wrong=labels != clean)


def one_epoch(name: str, values: list[list[float]], labels: list[int]) -> Signals:
    """Signals of one seed and one epoch, written out: `values` is (N, K)."""
    return Signals(
        index=ExampleIndex(f"world:{number}" for number in range(len(labels))),
        arrays={name: np.array(values)[None, :, None], "label": np.array(labels)},
        epochs={name: (1,)},
    )
