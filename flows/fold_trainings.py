"""Trainings without a fold: which rows each leaves out, and how what they say is joined to one signal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.examiners.content_hash import content_hashes
from curation.folds import fold_numbers
from flows.seeding import derived_seed
from storage.errors import CorruptError
from storage.index import ExampleIndex
from storage.store import Store
from storage.values import Array, Examples

OUT_OF_FOLD = "oof_probs"
"""The signal that trainings without a fold leave, each of the rows that it left out."""


def held_out_rows(examples: Examples, fold: Mapping[str, Any], seed: int) -> NDArray[np.bool_]:
    """(N,) whether an example is of the fold that a training leaves out.

    Args:
        examples: the N examples of the training split, as a model reads them.
        fold: `held_out`, counted from 0, and `of`, the number of folds.
        seed: of the training; each seed has folds of its own.

    Raises:
        ValueError: there are fewer examples of differing content than folds.
    """
    assert examples.labels is not None
    flat = examples.inputs.reshape(len(examples), -1)
    flat = np.ascontiguousarray(flat + 0.0 if np.issubdtype(flat.dtype, np.floating) else flat)  # -0.0 is 0.0
    contents = content_hashes(row.tobytes() for row in flat)
    generator = np.random.default_rng(derived_seed(seed, "folds"))
    held_out: NDArray[np.bool_] = (
        fold_numbers(contents, examples.labels, int(fold["of"]), generator) == fold["held_out"]
    )
    return held_out


def out_of_fold_probs(store: Store, seeds: Sequence[Sequence[str]], index: ExampleIndex) -> tuple[Array, int]:
    """What the trainings that left an example out say of it, and the epoch that they say it at.

    Args:
        store: has the trainings.
        seeds: for each of R seeds, the ids of the trainings of its folds.
        index: the N examples of the training split.

    Returns:
        (R, N, 1, K) probabilities, and their epoch: the last one; of trainings that stopped early the latest.

    Raises:
        CorruptError: an example is in no fold of a seed, or in several.
    """
    found: list[Array] = []
    epochs: list[int] = []
    for folds in seeds:
        parts = [store.signals([one], [OUT_OF_FOLD], {}) for one in folds]
        positions = np.concatenate([index.positions(part.index.ids) for part in parts])
        if not np.array_equal(np.sort(positions), np.arange(len(index))):
            raise CorruptError(f"the folds of the trainings {', '.join(folds)} do not hold each example once")
        probs = np.concatenate([part[OUT_OF_FOLD][0] for part in parts])
        joined = np.empty_like(probs)
        joined[positions] = probs
        found.append(joined)
        epochs.extend(part.epochs[OUT_OF_FOLD][-1] for part in parts)
    return np.stack(found), max(epochs)
