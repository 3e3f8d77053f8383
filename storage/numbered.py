"""Numbered notes: `<directory>/<number>.json`, each created once, numbers counting on from 1.

Versions and the moves of tags are such notes. Two writers that want the same number cannot both have it: the loser
tries again with the next.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from storage.errors import CorruptError
from storage.files import Files
from storage.sealed import unsealed

Note = TypeVar("Note")
NUMBER_PATTERN = re.compile(r"([0-9]{8})\.json")
"""Names of the files that hold a note."""
TRIES = 200
"""How often a writer tries for a number before it gives up."""


def note_path(directory: str, number: int) -> str:
    """Path of a note."""
    return f"{directory}/{number:08d}.json"


def last_number(files: Files, directory: str) -> int:
    """The highest number in a directory; 0 if it has none."""
    found = map(NUMBER_PATTERN.fullmatch, files.names(directory))
    return max((int(one[1]) for one in found if one), default=0)


def read_note(files: Files, path: str, make: Callable[..., Note], called: str, lost: str) -> Note:
    """What is made of the fields of a note; CorruptError, with what it is called, if it is lost or cannot be read."""
    try:
        return make(**unsealed(files.read(path)))
    except FileNotFoundError:
        raise CorruptError(f"{called} {lost}; `tamis fsck` says what to do") from None
    except (TypeError, ValueError) as error:
        raise CorruptError(f"{called} cannot be read: {error}; `tamis fsck` says what to do") from error


def tries() -> Iterator[int]:
    """Counts the tries for a number, with growing pauses between."""
    for number in range(TRIES):
        yield number
        time.sleep(random.uniform(0, 0.001 * min(2**number, 256)))  # noqa: S311 (spreads retries)
