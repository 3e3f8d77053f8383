"""Where an export goes: a place of the user's, filled beside it first and then put there by renaming.

A process that is killed leaves a hidden `.<name>.<number>.partial` beside the target and never half an export in
its place. Replacing a directory takes two renames, so that for a moment neither the old nor the new one is there.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.files import flush_directory

_CARD_KEYS: Set[str] = frozenset(("tamis", "version", "artifact"))


def check_target(target: Path, *, replace: bool, avoid: Path, fills_directory: bool = False) -> None:
    """Check that an export may go to a place.

    Of directories only an empty one and an earlier export are ever replaced, and never the current or the home
    directory or one around them. A file gives way to anything if `replace` allows it.

    Args:
        target: file or directory.
        replace: whether what is there may be replaced.
        avoid: a store's directory: exports go outside.
        fills_directory: whether a directory is written, rather than one file.

    Raises:
        ValueError: it is in the store, around it, a link, or something that may not be replaced.
    """
    place, store = target.resolve(), avoid.resolve()
    if place.is_relative_to(store) or store.is_relative_to(place):
        raise ValueError(f"{target} and the store {avoid} overlap, and an export goes outside; name another --output")
    if target.is_symlink():
        raise ValueError(f"{target} is a link to {target.readlink()}, and an export replaces no link; name {place}")
    if place.is_dir():
        _check_directory(target, place, fills_directory=fills_directory)
    elif place.exists() and not place.is_file():
        raise ValueError(f"{target} is neither a file nor a directory; name another --output")
    if not replace and place.exists() and not _is_empty(place):
        raise ValueError(f"{target} exists; --replace writes over it, or name another --output")


def _check_directory(target: Path, place: Path, *, fills_directory: bool) -> None:
    """Check that a directory may be replaced, if the user wants it."""
    if not fills_directory:
        raise ValueError(f"{target} is a directory, and one file is to be written; name a file as --output")
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 (a user without one is no error)
    for kept, name in ((Path.cwd(), "current"), (home, "home")):
        if kept.is_relative_to(place):
            raise ValueError(
                f"{target} is or holds the {name} directory {kept}, which an export never replaces; "
                "name a new directory as --output"
            )
    if not (_is_empty(place) or _is_export(place)):
        raise ValueError(
            f"{target} is a directory with something else than an export of tamis in it, which --replace does not "
            "write over; empty it, or name another --output"
        )


def _is_empty(place: Path) -> bool:
    return place.is_dir() and not any(place.iterdir())


def _is_export(place: Path) -> bool:
    """Whether a directory has an export's card, in `tamis.json` or as the description of a Delta table."""
    try:
        if (place / "tamis.json").is_file():
            return _is_card((place / "tamis.json").read_text(encoding="utf-8"))
        with (place / "_delta_log" / f"{0:020d}.json").open(encoding="utf-8") as log:
            actions = map(json.loads, log)
            return any(_is_card(one["metaData"]["description"]) for one in actions if "metaData" in one)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_card(text: str) -> bool:
    card: Any = json.loads(text)
    return isinstance(card, dict) and card.keys() >= _CARD_KEYS


@contextmanager
def filled(target: Path) -> Iterator[Path]:
    """A place for one file or directory beside the target; leaving the block puts it there, an exception removes it."""
    target = target.resolve()
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
