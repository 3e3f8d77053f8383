"""Sections of a recipe, each a frozen dataclass; `flows.config` reads them from TOML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from curation.label_actions import LabelAction

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """`[learners.<name>]`: a training rule, and what it records of each example."""

    method: str
    """File name of a learner in `learners/methods/`."""
    record: Mapping[str, tuple[int, ...] | Literal["every", "last"]] = field(default_factory=dict)
    """Signals to record while it trains on everything, each with its epochs, counted from 1."""
    folds: int | None = None
    """Trainings beside those on everything, each without one of so many parts of it, at least 2, for the signal
    `oof_probs`: probabilities of the rows that a training left out. None has no such trainings."""
    stop_when_stable: float | None = None
    """Scores are read from two seeds, three and so on, until the Spearman correlation between those of two halves of
    the seeds is at least this, in (0, 1], or there are the recipe's `seeds`. None reads all seeds at once."""
    training: Settings = field(default_factory=dict)
    """Settings that differ from `[training]` for this learner."""
    settings: Settings = field(default_factory=dict)
    """The method's own settings."""

    def __post_init__(self) -> None:
        if self.folds is not None and self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if self.stop_when_stable is not None and not 0 < self.stop_when_stable <= 1:
            raise ValueError(f"stop_when_stable must be in (0, 1], got {self.stop_when_stable}")


@dataclass(frozen=True, kw_only=True)
class SignalsConfig:
    """`[signals.<name>]`: arrays per example that need no training: a user's own, or an examiner's."""

    given: str | None = None
    """Name or version, such as `probs@1`, of what `tamis ingest-signals` has read."""
    method: str | None = None
    """File name of an examiner in `curation/examiners/`, which computes them from the examples."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Array by the signal that scorers shall read it as, such as `oof_probs = "probs"`; others keep their names.
    Logits are made of probabilities, and probabilities of logits, where one is read as the other."""
    settings: Settings = field(default_factory=dict)
    """The examiner's own settings."""

    def __post_init__(self) -> None:
        if (self.given is None) == (self.method is None):
            raise ValueError("signals are either given (a version) or examined (a method); name one of the two")
        if self.given is not None and self.settings:
            raise ValueError(f"given signals have no settings, got {', '.join(self.settings)}")


@dataclass(frozen=True, kw_only=True)
class ScorerConfig:
    """`[scorers.<name>]`: a score; its name is its column in `scored.<data set>`."""

    method: str
    """File name of a scorer in `curation/scorers/`."""
    signals: str | None = None
    """Name of the learner whose training recorded the signals, or of a section `[signals.<name>]`; none for a scorer
    that reads another score."""
    targets: str | None = None
    """A data set of the store, such as `benchmarks@1`, whose training split shows what to look for, each group being
    a benchmark; examined as the signals are."""
    new_rows: Literal["rerun", "frozen"] = "rerun"
    """When rows were appended: `rerun` makes every value as if all rows had been there from the start; `frozen`
    keeps the scores of an earlier version and scores new rows by the models stored with it, marked as such."""
    settings: Settings = field(default_factory=dict)
    """The method's own settings."""


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """`[selection]`: the rule that turns scores into weights, and the subset's name."""

    subset: str
    """Name under which the selection is published."""
    method: str
    """File name of a selector in `curation/selectors/`."""
    signals: str | None = None
    """Name of a section `[signals.<name>]`, for selectors that read arrays such as embeddings; or of a learner that
    records its `embedding`."""
    where: str | None = None
    """An SQL condition over the columns of `scored.<data set>`, such as `el2n < 0.9 AND language = 'en'`: examples that
    do not fulfil it are dropped before the rule chooses."""
    flagged: LabelAction | None = None
    """`[selection.flagged]`: what becomes of examples that a noise score flags, before the rule chooses."""
    steps: Literal["equal", "own"] | None = None
    """Steps of an epoch of training on the subset: `equal` to those on everything, or its `own`, one pass over it. None
    is `own` for a rule with a schedule, such as rs2, and `equal` for every other."""
    settings: Settings = field(default_factory=dict)
    """The method's own settings."""


@dataclass(frozen=True, kw_only=True)
class RebalanceConfig:
    """`[rebalance]`: how the classes of what the selection keeps are evened out, and the subset's name."""

    subset: str
    """Name under which the rebalanced rows are published; another one than the selection's."""
    method: str
    """File name of a rebalancer in `curation/rebalance/`."""
    settings: Settings = field(default_factory=dict)
    """The method's own settings."""


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """`[[arms]]`: one side of the comparison at the end of a run."""

    learner: str
    """Name of a learner of this recipe."""
    data: Literal["everything", "subset"]
    """What it trains on."""

    @property
    def title(self) -> str:
        """Such as `plain on everything`."""
        return f"{self.learner} on {'everything' if self.data == 'everything' else 'the subset'}"
