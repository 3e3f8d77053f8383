"""Observed limits: the words in a table's threat model, filled in with numbers from its examples.

A table's features have units of their own, so that one radius for all of them means nothing: `deviation` measures
each by its standard deviation, and `observed` keeps attacked values between the least and the greatest seen.
"""

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from msgspec.structs import replace as replace_in_struct

from learners.attacks import Threat
from learners.learner import Learner
from learners.model import kept_rows
from storage.values import Array, Examples

WORDS = {"lower": "observed", "upper": "observed", "scales": "deviation"}
"""Which limits may be given as which word."""

AnyThreat = TypeVar("AnyThreat", bound=Threat)


def observed_threat(threat: AnyThreat, examples: Examples) -> AnyThreat:
    """The same threat model with numbers for words; itself where it has none.

    Args:
        threat: an `Attack` too.
        examples: (N, D) a table, of which the rows of weight above 0 are read.

    Raises:
        ValueError: the examples are images, or none has weight.
    """
    found = observed_limits(threat, examples)
    return replace_in_struct(threat, **found) if found else threat


def observed_learner(learner: Learner, examples: Examples) -> Learner:
    """The learner with numbers for words, in every threat model among its settings and in limits of its own.

    Args:
        learner: the training rule.
        examples: what it will train on.

    Raises:
        ValueError: as `observed_threat`.
    """
    found: dict[str, Any] = observed_limits(learner, examples)
    for setting in fields(learner):  # type: ignore[arg-type]
        value = getattr(learner, setting.name)
        if isinstance(value, Threat) and observed_limits(value, examples):
            found[setting.name] = observed_threat(value, examples)
    return replace(learner, **found) if found else learner  # type: ignore[type-var]


def observed_limits(settings: Learner | Threat, examples: Examples) -> dict[str, tuple[float, ...]]:
    """Numbers, one per feature, for those of the limits that are words; empty where none is.

    Args:
        settings: that hold `lower`, `upper` and `scales`, or do not.
        examples: (N, D) a table, of which the rows of weight above 0 are read.
    """
    named = [name for name, word in WORDS.items() if isinstance(getattr(settings, name, None), str)]
    if not named:
        return {}
    if examples.inputs.ndim != 2:
        raise ValueError(
            f"{named[0]} {WORDS[named[0]]!r} is for tables, and these inputs have the shape "
            f"{examples.inputs.shape[1:]}; give a number or leave it out"
        )
    rows = kept_rows(examples)
    if not rows.any():
        raise ValueError(f"{named[0]} {WORDS[named[0]]!r} needs an example of weight above 0")
    features = examples.inputs[rows]
    return {name: tuple(_limit(name, features).tolist()) for name in named}


def _limit(name: str, features: Array) -> Array:
    """(D,) the least, the greatest or the standard deviation of each feature."""
    if name == "scales":
        return np.asarray(features.std(axis=0, dtype=np.float64))
    return np.asarray(features.min(axis=0) if name == "lower" else features.max(axis=0))
