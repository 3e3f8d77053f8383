"""Forgetting: how often training lost an example that it had right.

Toneva, Sordoni, Tachet des Combes, Trischler, Bengio, Gordon, "An Empirical Study of Example
Forgetting during Deep Neural Network Learning", ICLR 2019. https://arxiv.org/abs/1812.05159
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.margins import rival_classes
from curation.scorer import Scorer, check_finite, given_labels, mean_over_seeds
from storage.values import HighMeans, Scores, Signals


def forgetting_events(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often an example goes from right at one visit to wrong at the next.

    Args:
        correct: (N, T) whether the model was right at each visit, in order.

    Returns:
        (N,) counts in [0, T // 2]; 0 also for examples that were never right (see `never_learnt`).
    """
    events: NDArray[np.int64] = (correct[:, :-1] & ~correct[:, 1:]).sum(axis=1, dtype=np.int64)
    return events


def never_learnt(correct: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) whether the model was wrong at every one of the (N, T) visits."""
    never: NDArray[np.bool_] = np.logical_not(correct.any(axis=1))
    return never


def correct_visits(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the label's logit was above all others, visit by visit; a tie is not.

    Args:
        logits: (N, T, K) pre-softmax outputs; K at least 2.
        labels: (N,) given classes in [0, K).

    Returns:
        (N, T) booleans.
    """
    rows = np.arange(len(labels))
    visits = []
    for epoch in range(logits.shape[1]):
        now = logits[:, epoch]
        visits.append(now[rows, labels] > now[rows, rival_classes(now, labels)])
    correct: NDArray[np.bool_] = np.stack(visits, axis=1)
    return correct


@dataclass(frozen=True, kw_only=True)
class Forgetting(Scorer):
    """Rank examples by their forgetting events over the whole training, averaged over seeds.

    An example that a seed never had right counts T + 1 for it, one more than any count of events
    over T epochs could be. Column `never_learnt`: no seed ever had it right.

    Differs from the paper: an example never learnt has a finite score, so that means over seeds
    exist (the paper: infinity); and an example's last visit in an epoch stands for the epoch.
    """

    reads: ClassVar[tuple[str, ...]] = ("train_logits", "label")
    high_means: ClassVar[HighMeans] = "hard"
    per_example: ClassVar[bool] = True

    def __call__(self, signals: Signals) -> Scores:
        """Mean over seeds of the number of events, in [0, T + 1].

        Raises:
            ValueError: an epoch before the last recorded one was not recorded.
        """
        logits = signals["train_logits"]
        if logits.shape[-1] < 2:
            raise ValueError("a label is right or wrong among at least 2 classes, got 1")
        recorded = signals.epochs["train_logits"]
        missing = sorted(set(range(1, max(recorded, default=1) + 1)) - set(recorded))
        if missing:
            raise ValueError(
                f"forgetting needs 'train_logits' of every epoch, but epoch {missing[0]} was not recorded; "
                "set train_logits = \"every\" in the learner's 'record'"
            )
        check_finite(signals.index, "train_logits", logits)
        labels = given_labels(signals, logits.shape[-1])
        counts, never = [], []
        for of_seed in logits:
            correct = correct_visits(of_seed, labels)
            never.append(never_learnt(correct))
            counts.append(np.where(never[-1], len(recorded) + 1.0, forgetting_events(correct)))
        columns = {"never_learnt": np.all(never, axis=0)}
        return mean_over_seeds(signals.index, counts, high_means=self.high_means, columns=columns)
