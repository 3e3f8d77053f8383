"""Optional packages that the steps of a plan need, asked for before the work, not at its end."""

from collections.abc import Iterable

from flows import resolve
from flows.step import Step
from storage.store import Store

METHODS = ("scorer", "selector", "rebalancer")
"""Kinds of methods that may need a package, as settings of a request name them."""


def check_packages(steps: Iterable[Step], store: Store) -> None:
    """Refuse steps whose method lacks a package; those that are done already need none.

    Args:
        steps: of a plan.
        store: may have the data set; where it does not yet, what depends on the number of rows is seen later.

    Raises:
        MissingPackageError: a package is not installed; the message says how to install it.
    """
    rows: dict[str, int] = {}
    for step in steps:
        settings = step.request.settings
        for kind in METHODS:
            if kind in settings and not store.has(step.id):
                method = resolve.method(kind, settings[kind], kind)
                dataset = step.request.inputs["dataset"]
                if dataset not in rows:
                    rows[dataset] = len(store.dataset(dataset).index("train")) if store.has(dataset) else 0
                method.check_packages(rows[dataset])
