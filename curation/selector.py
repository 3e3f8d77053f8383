"""Selector: turns scores into a weight and a reason for every example; and rules that selectors share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.packages import MayNeedPackages
from storage.index import ExampleIndex
from storage.values import Scores, Selection, Signals


class Selector(MayNeedPackages, ABC):
    """A frozen dataclass of settings that maps scores to a selection and does nothing else.

    The file name of an implementation is its name in recipes.
    """

    revision: ClassVar[int] = 1
    """Raised whenever the method's choices change: stored selections of older revisions are not reused."""

    schedules: ClassVar[bool] = False
    """Whether its selections carry a schedule, so that an epoch of training is by itself one scheduled pass."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the scores that this selector needs; none unless it says so."""
        return ()

    @abstractmethod
    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Weigh every example.

        Args:
            signals: the index, and `label` (N,) where there is one.
            scores: by the name that the recipe gave them; at least those in `reads`.
            rng: the only source of chance.
        """


def score_named(scores: Mapping[str, Scores], name: str) -> Scores:
    """The scores of that name, or an error that lists the names there are."""
    if name not in scores:
        raise ValueError(f"no scores named {name!r}; this run has {', '.join(sorted(scores)) or 'none'}")
    return scores[name]


def check_fraction(name: str, fraction: float) -> None:
    """Refuse a share to keep that is not in (0, 1]."""
    if not 0 < fraction <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {fraction}")


def keep_positions(index: ExampleIndex, positions: NDArray[np.integer], reasons: NDArray[np.object_]) -> Selection:
    """The selection that gives weight 1 to some positions and 0 to all others.

    Args:
        index: N examples.
        positions: (M,) distinct positions to keep.
        reasons: (N,) a short text for every example, kept or not.

    Returns:
        The selection.

    Raises:
        ValueError: nothing would be kept.
    """
    if not len(positions):
        raise ValueError(f"the selection keeps none of {len(index)} examples; nothing could be trained on it")
    weights = np.zeros(len(index), dtype=np.float32)
    weights[positions] = 1.0
    return Selection(index=index, weights=weights, reasons=reasons)
