"""Validation: how well the networks of an epoch do on examples that are not trained on, and which epoch did best."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.attacks import Attack, evaluation_mode, label_loss, pgd
from learners.averaging import copy_statistics
from learners.batches import input_tensor, network_inputs
from learners.evaluate import evaluation_logits
from learners.learner import Learner
from learners.model import kept_rows
from learners.named_attacks import threat_around
from learners.randomness import torch_generator
from learners.robustness import MeanLogits
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
    """What tells the best epoch: the highest accuracy, the lowest loss or the highest robust accuracy."""
    attack: Attack | None = None
    """The attack under which robust accuracy is taken; None where it is not."""
    seed: int = 0
    """Of the attack's random starts, which are the same in every epoch."""

    @classmethod
    def of(
        cls, validation: Examples, examples: Examples, best_by: BestBy, *, learner: Learner, seed: int
    ) -> "Validation":
        """Check validation examples against those of training.

        Args:
            validation: labelled examples to choose an epoch by.
            examples: what is trained on.
            best_by: what tells the best epoch.
            learner: whose own attack gives the robust accuracy, where that is asked for.
            seed: of the run.

        Raises:
            ValueError: no labels, other classes, an example that is trained on, none of weight above 0, or
                robust accuracy of a learner that does not attack.
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
        attack = attack_of(learner) if best_by == "robust_accuracy" else None
        return cls(
            inputs=input_tensor(validation.inputs[kept]),
            labels=torch.tensor(validation.labels[kept], dtype=torch.int64),
            best_by=best_by,
            attack=None if attack is None else threat_around(attack, examples, validation),
            seed=seed,
        )

    def metrics(self, state: TrainState) -> dict[str, float]:
        """`loss` in nats, `accuracy`, and `robust_accuracy` where that is asked for, of the networks that predict."""
        logits = evaluation_logits(state.predicting, self.inputs, BATCH_SIZE)
        hits = logits.argmax(1) == self.labels
        found = {"loss": float(cross_entropy(logits.double(), self.labels)), "accuracy": float(hits.double().mean())}
        if self.attack is not None:
            standing = hits & (self._attacked_logits(state, self.attack).argmax(1) == self.labels)
            found["robust_accuracy"] = float(standing.double().mean())
        return found

    def _attacked_logits(self, state: TrainState, attack: Attack) -> Tensor:
        """(V, K) at the end of the attack on the networks that predict, as one."""
        networks = state.predicting
        network = MeanLogits(networks) if len(networks) > 1 else networks[0]
        batches = zip(torch.split(self.inputs, BATCH_SIZE), torch.split(self.labels, BATCH_SIZE), strict=True)
        parts = []
        with evaluation_mode(network):
            for number, (rows, labels) in enumerate(batches):
                inputs, draws = network_inputs(rows.to(state.device)), torch_generator(self.seed, "validation", number)
                attacked = pgd(network, inputs, label_loss(labels.to(state.device)), attack, draws)
                with torch.no_grad():
                    parts.append(network(attacked).cpu())
        return torch.cat(parts)

    def keep_best(self, state: TrainState, metrics: dict[str, float]) -> int:
        """Keep copies of the predicting networks if this epoch is the best so far; the number of the best epoch."""
        value = -metrics["loss"] if self.best_by == "loss" else metrics[self.best_by]
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


def attack_of(learner: Learner) -> Attack:
    """The attack that a learner trains with.

    Raises:
        ValueError: it trains with none.
    """
    attack = getattr(learner, "attack", None)
    if not isinstance(attack, Attack):
        raise ValueError(
            f"best_by 'robust_accuracy' needs a learner with an attack of its own, and {type(learner).__name__} has "
            "none; take accuracy or loss"
        )
    return attack


def epochs_since_best(state: TrainState) -> int:
    """Epochs that have gone by since the best one; 0 where none is kept."""
    return state.epoch - int(state.vectors[BEST][0]) if BEST in state.vectors else 0
