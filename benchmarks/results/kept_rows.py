"""Rows that were made once and are not made again, for tables whose parts are no artifacts of a store."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

Row = dict[str, str]
PACKAGES = ("curation", "flows", "storage", "benchmarks/results")
"""Code that the rows depend on: what changes there makes them anew."""


def digest(inputs: Sequence[Path], settings: str) -> str:
    """SHA-256 of the bytes of some files, of what else is asked for, and of our code."""
    home = Path(__file__).parents[2]
    code = [path for package in PACKAGES for path in sorted((home / package).rglob("*.py"))]
    found = hashlib.sha256(settings.encode())
    for path in (*inputs, *code):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def rows_of(folder: Path | None, name: str, of: str, make: Callable[[], list[Row]]) -> list[Row]:
    """What `make` gives, from the folder where it was made there before of the same things.

    Args:
        folder: where rows are kept; None keeps nothing.
        name: of the part of a table, and of its file.
        of: `digest` of all that the rows are made of.
        make: gives the rows.
    """
    place = None if folder is None else folder / f"{name}.json"
    if place is not None and place.is_file():
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["of"] == of:
            rows: list[Row] = kept["rows"]
            return rows
    rows = make()
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_suffix(".part")
        part.write_text(json.dumps({"of": of, "rows": rows}, ensure_ascii=False), encoding="utf-8")
        part.replace(place)
    return rows
