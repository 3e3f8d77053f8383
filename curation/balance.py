"""Balance: how many rows each class shall have, as one setting that all rebalancers share.

The counts, and the classes that are left alone, are those of imbalanced-learn's `sampling_strategy`.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from curation.rebalancer import TrainingRows

Balance = Literal["auto"] | float | Mapping[str, int]
"""`auto`: every class to the size of the largest (the smallest, when rows are left out). A number in (0, 1]: of two
classes, the smaller becomes this share of the larger. A table: how many rows each class it names shall have."""


def check_balance(balance: Balance) -> None:
    """Refuse what is neither `auto` nor a share in (0, 1] nor a table of counts."""
    if isinstance(balance, str):
        if balance != "auto":
            raise ValueError(f"balance must be 'auto', a number in (0, 1] or a table of counts, got {balance!r}")
    elif isinstance(balance, Mapping):
        for name, count in balance.items():
            if count < 0:
                raise ValueError(f"balance must name counts of at least 0, got {count} for class {name!r}")
    elif not 0 < balance <= 1:
        raise ValueError(f"balance must be in (0, 1] as a number, got {balance}")


def synthetic_counts(rows: TrainingRows, balance: Balance) -> dict[int, int]:
    """How many rows each class gains, by class; only classes that gain any.

    Raises:
        ValueError: the balance asks for fewer rows than there are, or for what these classes do not allow.
    """
    counts = _present(rows)
    largest = max(counts, key=lambda label: counts[label])
    if isinstance(balance, Mapping):
        wanted = {label: count - counts[label] for label, count in _named(rows, balance).items()}
    elif isinstance(balance, str):
        wanted = {label: counts[largest] - count for label, count in counts.items()}
    else:
        _two_classes(rows, counts, balance)
        wanted = {label: int(counts[largest] * balance - count) for label, count in counts.items() if label != largest}
        if min(wanted.values()) <= 0:
            raise _too_few(rows, largest, counts, balance)
    for label, gain in wanted.items():
        if gain < 0:
            raise ValueError(
                f"class {rows.classes[label]!r} has {counts[label]} examples, more than the {counts[label] + gain} "
                "that balance asks for; over-sampling only adds: ask for more or use random_under"
            )
    return {label: gain for label, gain in sorted(wanted.items()) if gain}


def kept_counts(rows: TrainingRows, balance: Balance) -> dict[int, int]:
    """How many rows are drawn to stay, by class; classes that are not named stay whole.

    Raises:
        ValueError: the balance asks for more rows than there are, or for what these classes do not allow.
    """
    counts = _present(rows)
    smallest = min(counts, key=lambda label: counts[label])
    if isinstance(balance, Mapping):
        wanted = _named(rows, balance)
    elif isinstance(balance, str):
        wanted = {label: counts[smallest] for label in counts if label != smallest}
    else:
        _two_classes(rows, counts, balance)
        wanted = {label: int(counts[smallest] / balance) for label in counts if label != smallest}
    for label, count in wanted.items():
        if count > counts[label]:
            raise ValueError(
                f"class {rows.classes[label]!r} has {counts[label]} examples, fewer than the {count} "
                "that balance asks for; under-sampling only leaves out: ask for fewer or use random_over"
            )
    return dict(sorted(wanted.items()))


def _present(rows: TrainingRows) -> dict[int, int]:
    counts = {int(label): int(rows.counts[label]) for label in np.flatnonzero(rows.counts)}
    if len(counts) < 2:
        raise ValueError(f"rebalancing needs at least two classes with examples, got {len(counts)}")
    return counts


def _named(rows: TrainingRows, balance: Mapping[str, int]) -> dict[int, int]:
    unknown = [name for name in balance if name not in rows.classes]
    if unknown:
        raise ValueError(f"balance names class {unknown[0]!r}; there are {', '.join(rows.classes)}")
    named = {rows.classes.index(name): count for name, count in balance.items()}
    empty = [label for label in named if not rows.counts[label]]
    if empty:
        raise ValueError(
            f"class {rows.classes[empty[0]]!r} has no examples to make others from; take it out of balance"
        )
    return named


def _two_classes(rows: TrainingRows, counts: Mapping[int, int], balance: float) -> None:
    if len(counts) != 2:
        raise ValueError(
            f"balance = {balance} as a number needs two classes, got {len(counts)}: "
            f"{', '.join(rows.classes[label] for label in counts)}; give a table of counts or 'auto'"
        )


def _too_few(rows: TrainingRows, largest: int, counts: Mapping[int, int], balance: float) -> ValueError:
    (other,) = (label for label in counts if label != largest)
    return ValueError(
        f"balance = {balance} of the {counts[largest]} examples of class {rows.classes[largest]!r} is no more than the "
        f"{counts[other]} of class {rows.classes[other]!r}; ask for a larger share"
    )
