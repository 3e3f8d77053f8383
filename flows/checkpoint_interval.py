"""How often an unfinished training is saved: a setting of the place it runs at, which no result depends on."""

import math
import os

VARIABLE = "TAMIS_CHECKPOINT_MINUTES"
"""Environment variable with the least time between two checkpoints of a training, in minutes."""
SECONDS = 20.0
"""That time in seconds where the variable is not set."""


def checkpoint_seconds() -> float:
    """Least time in seconds between two checkpoints: a killed training repeats at most this much and one epoch.

    Raises:
        ValueError: the variable is no number of minutes.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return SECONDS
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise ValueError(f"{VARIABLE} must be a number of minutes, at least 0 (a checkpoint each epoch), got {text!r}")
    return 60 * minutes
