"""Ids, tables, versions, ingest and SQL: all reading and writing of tamis.

`Store` is loaded on first use, so that the other packages can import the value types alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.dataset import Dataset
    from storage.store import Store
    from storage.subset import Subset

__all__ = ["Dataset", "Store", "Subset"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"storage.{name.lower()}"), name)
    raise AttributeError(f"module 'storage' has no attribute {name!r}")
