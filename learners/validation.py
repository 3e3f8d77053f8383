"""Validation: how well the networks of an epoch do on examples that are not trained on, and which epoch did best."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.averaging import copy_statistics
from learners.batches import input_tensor
from learners.evaluate import evaluation_logits
from learners.model import kept_rows
from learners.state import TrainState
from learners.training import BestBy
from storage.values import Examples

BATCH_SIZE = 500
"""Rows per forward pass."""

BEST = "best_epoch"
"""Vector of a state: the best epoch, counted from 1, and its value, which is higher for better."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """Examples to choose an epoch by: a split of their own, never the test split."""

    inputs: Tensor
    """(V, ...) those of weight above 0, as `input_tensor` makes them."""
    labels: Tensor
    """(V,) int64 given classes, possibly wrong."""
    best_by: BestBy
    """Whether accuracy or loss tells the best epoch."""

    @classmethod
    def of(cls, validation: Examples, examples: Examples, best_by: BestBy) -> "Validation":
        """Check validation examples against those of training.

        Raises:
            ValueError: no labels, other classes, an example that is trained on, or none of weight above 0.
        """
        if validation.labels is None:
            raise ValueError("validation needs labels, and these examples have none")
        if validation.classes != examples.classes:
            raise ValueError(
                f"validation examples have classes {list(validation.classes)}, training has {list(examples.classes)}"
            )
        kept = kept_rows(validation)
        if not kept.any():
            raise ValueError(f"validation needs an example of weight above 0, got none of {len(validation)}")
        trained = set(examples.index.ids.filter(pl.Series(kept_rows(examples))))
        shared = [name for name in validation.index.ids.filter(pl.Series(kept)) if name in trained]
        if shared:
            raise ValueError(
                f"validation examples must not be trained on, and {len(shared)} are (first: {shared[0]!r}); "
                "take another split, or give them weight 0 in one of the two"
            )
        return cls(
            inputs=input_tensor(validation.inputs[kept]),
            labels=torch.tensor(validation.labels[kept], dtype=torch.int64),
            best_by=best_by,
        )

    def metrics(self, state: TrainState) -> dict[str, float]:
        """`loss` in nats and `accuracy`, means over the examples, of the networks that predict."""
        logits = evaluation_logits(state.predicting, self.inputs, BATCH_SIZE)
        hits = (logits.argmax(1) == self.labels).double()
        return {"loss": float(cross_entropy(logits.double(), self.labels)), "accuracy": float(hits.mean())}

    def keep_best(self, state: TrainState, metrics: dict[str, float]) -> int:
        """Keep copies of the predicting networks if this epoch is the best so far; the number of the best epoch."""
        value = metrics["accuracy"] if self.best_by == "accuracy" else -metrics["loss"]
        best = state.vector(BEST, size=2, fill=-np.inf)
        if value > best[1] or torch.isinf(best[0]):
            best[0], best[1] = state.epoch, value
            for number, network in enumerate(state.predicting):
                kept = state.copied(f"best_{number}", number)
                with torch.no_grad():
                    for old, new in zip(kept.parameters(), network.parameters(), strict=True):
                        old.copy_(new)
                copy_statistics(kept, network)
        return int(best[0])


def epochs_since_best(state: TrainState) -> int:
    """Epochs that have gone by since the best one; 0 where none is kept."""
    return state.epoch - int(state.vectors[BEST][0]) if BEST in state.vectors else 0
