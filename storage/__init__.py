"""Ids, tables, versions, ingest and SQL: all reading and writing of tamis.

Names are loaded on first use, so that the other packages can import the value types alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.column_rules import ColumnRules
    from storage.contract import Contract
    from storage.dataset import Dataset
    from storage.ingest.memory import ingest_frame
    from storage.schemas import Roles
    from storage.splits import SplitFractions
    from storage.store import Store
    from storage.subset import Subset

__all__ = ["ColumnRules", "Contract", "Dataset", "Roles", "SplitFractions", "Store", "Subset", "ingest_frame"]

_HOMES = {
    "ColumnRules": "column_rules",
    "Contract": "contract",
    "Dataset": "dataset",
    "Roles": "schemas",
    "SplitFractions": "splits",
    "Store": "store",
    "Subset": "subset",
    "ingest_frame": "ingest.memory",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"storage.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'storage' has no attribute {name!r}")
