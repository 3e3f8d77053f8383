"""Location: which format and which files a path, a pattern or a directory stands for."""

import glob
import os
import pkgutil
from pathlib import Path

from storage.errors import SourceError
from storage.ingest import formats
from storage.ingest.compressed import CODECS

ENDINGS = {
    "arrow": "arrow",
    "csv": "csv",
    "feather": "arrow",
    "ipc": "arrow",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "npz": "npz",
    "parquet": "parquet",
    "pq": "parquet",
    "tsv": "tsv",
}
"""Format of each file ending."""

PACKED_FORMATS = ("csv", "jsonl", "tsv")
"""Formats that are also read from `.gz` and `.zst` files."""

IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files that an image folder holds."""

_HUGGINGFACE_FILES = ("dataset_dict.json", "state.json")


def known_formats() -> list[str]:
    """Names of the formats, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(formats.__path__))


def format_of(location: str) -> str:
    """Name of the format that a location shows: its prefix, its ending, or what the directory holds.

    Raises:
        SourceError: none can be seen, or a directory holds several.
    """
    known = known_formats()
    prefix, _, _ = location.partition(":")
    if prefix in known:
        return prefix
    path = Path(location)
    if path.is_dir():
        return _format_of_directory(path)
    matched = {_format_of_name(one) for one in matching_files(location)}
    if len(matched) > 1:
        raise SourceError(f"{location} matches files of several formats ({', '.join(sorted(matched))}); narrow it")
    found = matched.pop() if matched else _format_of_name(path)
    if found in known:
        return found
    if path.suffix.lower() in CODECS:
        raise SourceError(
            f"cannot read {location}: {' and '.join(CODECS)} are read for {', '.join(PACKED_FORMATS)} only; "
            "unpack it first"
        )
    what = f"format {found!r}" if found else "no format can be seen from the name"
    raise SourceError(f"cannot read {location}: {what}; known formats are {', '.join(known)}")


def matching_files(location: str, kind: str | None = None) -> list[Path]:
    """Files that a path, a pattern such as `data/part-*.parquet` or a directory names, sorted.

    Args:
        location: path, pattern or directory.
        kind: a format; of a directory only its files are taken. None takes all.

    Returns:
        The files; empty if there are none.
    """
    path = Path(location)
    if path.is_file():
        return [path]
    if path.is_dir():
        return [one for one in _visible_files(path) if kind is None or _format_of_name(one) == kind]
    if not glob.has_magic(location):
        return []
    return sorted(found for found in map(Path, glob.glob(location, recursive=True)) if found.is_file())


def source_files(location: str, kind: str) -> list[Path]:
    """The same files, of which there must be one at least.

    Raises:
        SourceError: there is none.
    """
    found = matching_files(location, kind)
    if found:
        return found
    if Path(location).is_dir():
        raise SourceError(f"the directory {location} holds no {kind} files")
    return [existing_file(location)]


def short_names(paths: list[Path]) -> list[str | None]:
    """What to call each of several files: its path below the directory they share; None for a single one."""
    if len(paths) == 1:
        return [None]
    top = os.path.commonpath([path.absolute().parent for path in paths])
    return [path.absolute().relative_to(top).as_posix() for path in paths]


def existing_file(location: str) -> Path:
    """The path of a source that is one file; SourceError if it is not there."""
    path = Path(location)
    if not path.exists():
        raise SourceError(f"there is no file {location}")
    if not path.is_file():
        raise SourceError(f"{location} is not a file")
    return path


def existing_directory(location: str) -> Path:
    """The path of a source that is a directory; SourceError if it is not there."""
    path = Path(location)
    if not path.is_dir():
        raise SourceError(f"there is no directory {location}")
    return path


def _format_of_name(path: Path) -> str:
    """What a file's ending stands for, the ending itself where that is nothing."""
    packed = path.suffix.lower() in CODECS
    ending = (path.with_suffix("") if packed else path).suffix.lstrip(".").lower()
    found = ENDINGS.get(ending, ending)
    return path.suffix.lstrip(".").lower() if packed and found not in PACKED_FORMATS else found


def _format_of_directory(path: Path) -> str:
    if any((path / name).is_file() for name in _HUGGINGFACE_FILES):
        return "huggingface"
    files = _visible_files(path)
    found = sorted({ENDINGS[one] for one in map(_format_of_name, files) if one in ENDINGS.values()})
    if any(one.suffix.lower() in IMAGE_ENDINGS for one in files):
        found.append("images")
    if len(found) == 1:
        return found[0]
    what = f"files of several formats ({', '.join(found)})" if found else "no files of a known format"
    raise SourceError(
        f"the directory {path} holds {what}; name the format, or a pattern such as {path}/*.csv; "
        f"known formats are {', '.join(known_formats())}"
    )


def _visible_files(path: Path) -> list[Path]:
    """Files at any depth but those whose own or folder's name starts with `.` or `_`, sorted."""
    return sorted(
        one
        for one in path.rglob("*")
        if one.is_file() and not any(part.startswith((".", "_")) for part in one.relative_to(path).parts)
    )
