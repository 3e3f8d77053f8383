"""cleanlab's own numbers from the same out-of-fold probabilities; cleanlab is no dependency."""

import importlib.util
from functools import lru_cache
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

QUALITIES = {"self_confidence": "self-confidence", "normalized_margin": "normalized margin"}
"""cleanlab's qualities of a label, its default first."""


def is_installed() -> bool:
    """Whether cleanlab can be asked."""
    return importlib.util.find_spec("cleanlab") is not None


Peer = tuple[str, NDArray[np.float64], NDArray[np.bool_]]
"""Title, (N,) suspicion and (N,) flags."""


def cleanlab_scores(probs: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Peer]:
    """What cleanlab says of each label by each of `QUALITIES`, and which labels it flags by its default rule.

    Args:
        probs: (N, K) out-of-fold probabilities.
        labels: (N,) given classes in [0, K).
    """
    return _asked(probs.astype(np.float64).tobytes(), labels.astype(np.int64).tobytes())


@lru_cache(maxsize=64)
def _asked(probs: bytes, labels: bytes) -> list[Peer]:
    """The same; kept, since tables are written again row by row."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    given = np.frombuffer(labels, dtype=np.int64)
    told = np.frombuffer(probs, dtype=np.float64).reshape(len(given), -1)
    flagged = np.asarray(find_label_issues(given, told, filter_by="prune_by_noise_rate", n_jobs=1), dtype=np.bool_)
    found = []
    for quality, title in QUALITIES.items():
        qualities = np.asarray(get_label_quality_scores(given, told, method=quality), dtype=np.float64)
        found.append((f"cleanlab {version('cleanlab')}, {title}", -qualities, flagged))
    return found
