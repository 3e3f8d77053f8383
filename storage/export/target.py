"""Where an export goes: a place of the user's, filled beside it first and then put there by renaming.

A process that is killed leaves a hidden `.<name>.<number>.partial` beside the target and never half an export in
its place. Replacing a directory takes two renames, so that for a moment neither the old nor the new one is there.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.files import flush_directory


def check_target(target: Path, *, replace: bool, avoid: Path) -> None:
    """Check that an export may go to a place.

    Args:
        target: file or directory.
        replace: whether what is there may be replaced.
        avoid: a store's directory: exports go outside.

    Raises:
        ValueError: it is in the store, around it, or holds something that may not be replaced.
    """
    place, store = target.resolve(), avoid.resolve()
    if place.is_relative_to(store) or store.is_relative_to(place):
        raise ValueError(f"{target} and the store {avoid} overlap, and an export goes outside; name another --output")
    empty = not place.exists() or (place.is_dir() and not any(place.iterdir()))
    if not (empty or replace):
        raise ValueError(f"{target} exists; --replace writes over it, or name another --output")


@contextmanager
def filled(target: Path) -> Iterator[Path]:
    """A place for one file or directory beside the target; leaving the block puts it there, an exception removes it."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    number = secrets.token_hex(4)
    partial = target.with_name(f".{target.name}.{number}.partial")
    try:
        yield partial
        for path in (partial, *partial.rglob("*")):
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        _put(partial, target, target.with_name(f".{target.name}.{number}.old"))
    finally:
        _remove(partial)


def _put(partial: Path, target: Path, aside: Path) -> None:
    if target.is_dir() or (target.exists() and partial.is_dir()):
        target.rename(aside)
        try:
            partial.rename(target)
        except OSError:
            aside.rename(target)
            raise
    else:
        partial.replace(target)
    flush_directory(target.parent)
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
