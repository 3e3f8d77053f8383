"""Hugging Face: a directory that `datasets` saved to disk, read without that library.

Its Arrow files are plain IPC streams; `state.json` lists them and `dataset_info.json` names the classes. A column
of class numbers becomes the names (-1, no label, becomes null). A dictionary of splits becomes one source
with a column `split`, which the directories' names fill. Images are structures of bytes and path.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from storage.errors import SourceError
from storage.ingest.formats.arrow import batch_schema, read_files
from storage.ingest.location import existing_directory
from storage.ingest.record_batches import same_columns, types_of
from storage.ingest.source import Block, Header

PLACE = "row"
"""What a place in this kind of source is called."""

SPLIT = "split"
"""The column that says from which split of a dictionary a row is."""


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """One saved data set: its files and classes."""

    split: str | None
    """Name in a dictionary of splits; None outside one."""
    files: tuple[Path, ...]
    classes: Mapping[str, tuple[str, ...]]
    """Class names in order, by column."""


def columns(location: str) -> Header:
    """The columns of the files, class columns as text, and the column of splits."""
    found: dict[Path, dict[str, pl.DataType]] = {}
    for saved in _saved(location):
        for path in saved.files:
            types = types_of(batch_schema(path), path)
            found[path] = {**types, **{name: pl.String() for name in saved.classes if name in types}}
            if saved.split is not None:
                if SPLIT in types:
                    raise SourceError(f"{location} is a dictionary of splits and has a column {SPLIT!r}; rename it")
                found[path][SPLIT] = pl.String()
    return Header(columns=same_columns(found))


def read(location: str, types: Mapping[str, pl.DataType]) -> Iterator[Block]:
    """Blocks of rows, split by split and file by file, counted on."""
    parts = _saved(location)
    split_of = {path: saved for saved in parts for path in saved.files}
    before = 0
    for number, (path, saved) in enumerate(split_of.items()):
        own = {name: dtype for name, dtype in types.items() if saved.split is None or name != SPLIT}
        name = path.relative_to(location).as_posix() if len(split_of) > 1 else None
        last = before
        for block in read_files([path], own):
            last = before + int(block.rows[-1]) if len(block.rows) else last
            frame = _named_classes(block.frame, saved, path)
            if saved.split is not None:
                frame = frame.with_columns(pl.lit(saved.split).alias(SPLIT))
            yield replace(
                block,
                frame=frame.select(list(types)),
                rows=block.rows + before,
                fraction=(number + block.fraction) / len(split_of),
                file=name,
                before=before,
            )
        before = last


def fingerprint(location: str) -> str:
    """SHA-256 of the splits' names, the classes and the files' bytes, in order."""
    digest = hashlib.sha256()
    for saved in _saved(location):
        digest.update(json.dumps([saved.split, {key: list(names) for key, names in saved.classes.items()}]).encode())
        for path in saved.files:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _saved(location: str) -> list[_Saved]:
    """The data set in a directory, or each of a dictionary of them."""
    top = existing_directory(location)
    if not (top / "dataset_dict.json").is_file():
        return [_saved_one(top, None)]
    splits = _json(top / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not splits:
        raise SourceError(f"{top / 'dataset_dict.json'} lists no splits")
    return [_saved_one(_inside(top, str(split)), str(split)) for split in splits]


def _saved_one(folder: Path, split: str | None) -> _Saved:
    state = _json(folder / "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise SourceError(f"{folder} keeps its rows by reference; save it again after flatten_indices()")
    listed = state.get("_data_files")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise SourceError(f"{folder / 'state.json'} lists no data files")
    files = tuple(_inside(folder, str(one.get("filename"))) for one in listed)
    for path in files:
        if not path.is_file():
            raise SourceError(f"{folder / 'state.json'} lists {path.name}, which is not there; get the directory again")
    info = folder / "dataset_info.json"
    features = (_json(info).get("features") if info.is_file() else None) or {}
    classes = {
        name: tuple(feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
    return _Saved(split=split, files=files, classes=classes)


def _named_classes(frame: pl.DataFrame, saved: _Saved, path: Path) -> pl.DataFrame:
    for name, names in saved.classes.items():
        if name not in frame:
            continue
        numbers = frame[name]
        wrong = numbers.filter((numbers < -1) | (numbers >= len(names)))
        if len(wrong):
            raise SourceError(f"column {name!r} of {path} holds class {wrong[0]}, but there are {len(names)} classes")
        texts = numbers.replace_strict(range(len(names)), names, default=None, return_dtype=pl.String)
        frame = frame.with_columns(texts.alias(name))
    return frame


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SourceError(f"there is no file {path}; it is part of what save_to_disk writes")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SourceError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{path} is not a JSON object")
    return found


def _inside(folder: Path, name: str) -> Path:
    """A file or folder directly in another; a name that leads elsewhere is refused."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise SourceError(f"{folder} lists {name!r}, which is not a name inside it")
    return folder / name
