"""RS2: keep every example, and let each epoch visit a random share of them, another one every time.

Okanovic, Waleffe, Mageirakos, Nikolakakis, Karbasi, Kalogerias, Gurel, Rekatsinas, "Repeated
Random Sampling for Minimizing the Time-to-Accuracy of Learning", ICLR 2024.
https://arxiv.org/abs/2305.18424

The selection carries the schedule, and training follows it: an epoch is one draw, so it costs `fraction` of an epoch
on everything, and the learning rate goes through its whole schedule in those fewer steps. `steps = "equal"` in
[selection] gives it as many steps as training on everything has, which spends the draws sooner and saves nothing.

Differs from the paper: when fewer examples than a hand are left to deal out, they wait for the next shuffle; the
authors' code hands out a shorter one that begins the same permutation again. There is no draw by class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np

from curation.ranks import budget
from curation.selector import Selector, check_fraction
from storage.values import Schedule, ScheduleRule, Scores, Selection, Signals


@dataclass(frozen=True, kw_only=True)
class RS2(Selector):
    """Keep all examples with weight 1, and visit a fresh share of them in each epoch.

    The baseline to beat: it needs no score, so it costs no more than its epochs.
    """

    schedules: ClassVar[bool] = True

    fraction: float
    """Share of the examples that an epoch visits, in (0, 1]; fraction * N rounded, halves to even."""
    rule: ScheduleRule = "dealt"
    """`dealt`: shuffled and dealt out, a hand an epoch, so that 1 / fraction epochs visit all (without replacement in
    the paper); `redrawn`: a new uniform draw each epoch (with replacement)."""

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        if self.rule not in get_args(ScheduleRule):
            raise ValueError(f"rule must be one of {', '.join(get_args(ScheduleRule))}, got {self.rule!r}")

    def __call__(self, signals: Signals, scores: Mapping[str, Scores], rng: np.random.Generator) -> Selection:
        """Keep everything; the schedule's seed is drawn from `rng`.

        Raises:
            ValueError: the fraction rounds to no example.
        """
        size = len(signals)
        if not budget(self.fraction, size):
            raise ValueError(f"an epoch would visit none of {size} examples; nothing could be trained on it")
        reason = f"{self.rule} among {100 * self.fraction:g} % of each epoch"
        return Selection(
            index=signals.index,
            weights=np.ones(size, dtype=np.float32),
            reasons=np.full(size, reason, dtype=object),
            schedule=Schedule(rule=self.rule, fraction=self.fraction, seed=int(rng.integers(2**31))),
        )
