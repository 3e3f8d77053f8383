"""Refusals: what an operating system will not do to a file of a store, as one sentence with the remedy.

Python, Polars and DuckDB each word a full disk in their own way; whoever runs out of space should
read once what could not be written, where, why, and that nothing finished is lost.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from storage.errors import DiskError

Doing = Literal["read", "write"]

_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some space or have the quota raised, and run the same command again",
    errno.EFBIG: "raise the limit on the size of files and run the same command again",
    errno.EROFS: "mount the file system for writing, or name another store with --store",
    errno.EMFILE: "raise the limit on open files (ulimit -n) and run the same command again",
}
_RIGHTS = {
    "read": "have this user given the right to read the store",
    "write": "have this user given the right to write there, or name another store with --store",
}
_OTHERWISE = "check the disk and the rights to it, and run the same command again"
_KEPT = "; what was published before is untouched"


@contextmanager
def refusals_of(doing: Doing, path: str, root: object, *, native: type[Exception] = DiskError) -> Iterator[None]:
    """Turn what is refused inside the block into one sentence.

    Args:
        doing: what the block does.
        path: the file or directory, relative to the store.
        root: where the store is.
        native: error by which a native library passes on a refusal; its text says which.

    Raises:
        DiskError: the operating system refused.
        FileNotFoundError: what was to be read is not there.
    """
    try:
        yield
    except DiskError:
        raise
    except FileNotFoundError:
        if doing == "read":
            raise
        raise DiskError(
            f"cannot write {path} of the store {root}: a directory above it is gone; run it again"
        ) from None
    except OSError as error:
        raise _told(doing, path, root, error.errno, error.strerror or str(error)) from error
    except native as error:
        number = _number_in(str(error))
        if number is None:
            raise
        raise _told(doing, path, root, number, os.strerror(number)) from error


def _told(doing: Doing, path: str, root: object, number: int | None, reason: str) -> DiskError:
    remedy = _RIGHTS[doing] if number in (errno.EACCES, errno.EPERM) else _REMEDIES.get(number or 0, _OTHERWISE)
    kept = _KEPT if doing == "write" else ""
    told = DiskError(f"cannot {doing} {path} of the store {root}: {reason}; {remedy}{kept}")
    told.errno = number
    return told


def _number_in(message: str) -> int | None:
    """The operating system's number of an error that a native library words; None if it is about something else."""
    found = re.search(r"\(os error (\d+)\)", message)
    if found:
        return int(found[1])
    last = message.strip().splitlines()[-1].rpartition(": ")[2] if message.strip() else ""
    return next((number for number in errno.errorcode if os.strerror(number) == last), None)
