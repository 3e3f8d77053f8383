"""Hugging Face `datasets`: a directory for `datasets.load_from_disk`, with the card as README.md and tamis.json.

The label is a `ClassLabel` (a given label too), an image `Array2D` or `Array3D` of uint8: exact, and without a codec.
The rows go to an Arrow file first, which `datasets` maps and saves, so that they need not fit into memory.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from storage.export.rows import ExportRows

IS_FILE = False
_LABELS = ("label", "given_label", "clean_label")


def write(rows: ExportRows, target: Path) -> int:
    """Write all rows; their number.

    Raises:
        ValueError: `datasets` is not installed, or there are no rows.
    """
    try:
        import datasets
        from datasets.arrow_writer import ArrowWriter
    except ImportError:
        raise ValueError("--to hf needs Hugging Face datasets: pip install 'tamis[hf]'") from None
    target.mkdir()
    features = _features(rows, datasets)
    arrow = target / "rows.arrow"
    written = 0
    with ArrowWriter(features=features, path=str(arrow)) as writer:
        for block in rows.blocks():
            writer.write_batch(_columns(block, rows, features, datasets))
            written += len(block)
        writer.finalize()
    if not written:
        raise ValueError(f"{rows.card['version']} has no rows to export, and datasets saves no empty data set")
    whole = datasets.Dataset.from_file(str(arrow))
    quiet = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        whole.save_to_disk(str(target / "saved"))
    finally:
        if not quiet:
            datasets.enable_progress_bars()
    del whole
    arrow.unlink()
    for path in sorted((target / "saved").iterdir()):
        path.rename(target / path.name)
    (target / "saved").rmdir()
    card = json.dumps(dict(rows.card), indent=1)
    (target / "tamis.json").write_text(card, encoding="utf-8")
    (target / "README.md").write_text(_readme(rows, card), encoding="utf-8")
    return written


def _features(rows: ExportRows, datasets: Any) -> Any:
    """The types of the columns, in the words of `datasets`."""
    arrow = pl.DataFrame(schema=rows.schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    features = datasets.Features.from_arrow_schema(arrow.remove_metadata())
    for name, shape in rows.image_shapes.items():
        features[name] = (datasets.Array2D if len(shape) == 2 else datasets.Array3D)(shape, "uint8")
    for name in _LABELS:
        if name in features and rows.dataset.classes:
            features[name] = datasets.ClassLabel(names=list(rows.dataset.classes))
    return features


def _columns(block: pl.DataFrame, rows: ExportRows, features: Any, datasets: Any) -> dict[str, Any]:
    """A block as `datasets` takes it; a label that is no class, such as a missing one, is null."""
    columns: dict[str, Any] = {}
    places = {name: place for place, name in enumerate(rows.dataset.classes)}
    for name in block.columns:
        values = block[name]
        if name in rows.image_shapes:
            columns[name] = np.asarray(values.to_numpy(), np.uint8).reshape(len(block), *rows.image_shapes[name])
        elif isinstance(features[name], datasets.ClassLabel):
            texts = values.cast(pl.String)
            columns[name] = texts.replace_strict(places, default=None, return_dtype=pl.Int64).to_list()
        else:
            columns[name] = values.to_list()
    return columns


def _readme(rows: ExportRows, card: str) -> str:
    return (
        f"# {rows.card['version']}\n\nRows of a {rows.card['kind']}, exported by tamis from:\n\n```json\n{card}\n```\n"
    )
