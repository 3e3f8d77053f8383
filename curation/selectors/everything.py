"""Everything: the selection that keeps every example, as a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curation.selector import Selector
from storage.values import Scores, Selection, Signals


@dataclass(frozen=True, kw_only=True)
class Everything(Selector):
    """Give every example weight 1."""

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep all N examples."""
        return Selection(
            index=signals.index,
            weights=np.ones(len(signals), dtype=np.float32),
            reasons=np.full(len(signals), "everything", dtype=object),
        )
