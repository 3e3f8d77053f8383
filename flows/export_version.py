"""Export of a version by hand: what `tamis export` does."""

import pkgutil
from importlib import import_module
from pathlib import Path

from flows.resolve import unknown_method
from storage.export import formats
from storage.export.rows import export_rows
from storage.export.target import check_target, filled
from storage.store import Store


def export_version(
    store: Store,
    reference: str,
    *,
    to: str,
    output: Path,
    kind: str | None = None,
    dropped_too: bool = False,
    replace: bool = False,
) -> str:
    """Write the rows of a version in another tool's format, whole or not at all.

    Args:
        store: where the version is.
        reference: `name`, `name@3` or a tag.
        to: `parquet`, `csv`, `hf`, `webdataset` or `delta`.
        output: file (Parquet, CSV) or directory, outside the store.
        kind: `subset`, `dataset` or `scored`; None is the subset of that name, else the data set.
        dropped_too: for a subset, also the dropped rows.
        replace: whether a file or an earlier export at `output` may be replaced.

    Returns:
        One sentence with the version, the number of rows and the place.

    Raises:
        NotFoundError: there is no such version.
        ValueError: an unknown format, a place that may not be used, or a missing package.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))
    if to not in names:
        raise unknown_method("export format", to, names)
    found = kind or ("subset" if store.knows("subset", reference.partition("@")[0]) else "dataset")
    version = store.version(found, reference)
    written_by = import_module(f"{formats.__name__}.{to}")
    check_target(output, replace=replace, avoid=store.root, fills_directory=not written_by.IS_FILE)
    rows = export_rows(store, version, dropped_too=dropped_too)
    with filled(output) as place:
        written: int = written_by.write(rows, place)
    return f"{found} {version}: {written} rows written to {output} as {to}"
