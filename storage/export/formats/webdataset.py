"""WebDataset: numbered tar shards with three files a row, and the card as tamis.json beside them.

`.cls` is the class number (left out where a label is missing), `.json` all columns but the image, ids among them, and
the image is a `.png`; a shape that PNG has no mode for is a `.npy`. Keys are row numbers, because a dot in an id
would end the key. NaN and infinities, which JSON does not have, are null in `.json`. A shard has at most 10,000 rows
and about 1 GB.
"""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from storage.export.rows import ExportRows

IS_FILE = False
SHARD_ROWS = 10_000
"""Rows of a shard, at most."""
SHARD_BYTES = 1e9
"""Size after which a shard ends."""


def write(rows: ExportRows, target: Path) -> int:
    """Write all rows; their number.

    Raises:
        ValueError: webdataset or Pillow is not installed, or there is more than one image in a row.
    """
    try:
        import PIL.Image
        import webdataset
    except ImportError:
        raise ValueError("--to webdataset needs webdataset and Pillow: pip install 'tamis[webdataset]'") from None
    if len(rows.image_shapes) > 1:
        raise ValueError(f"a WebDataset row has one image, and these have {', '.join(rows.image_shapes)}")
    target.mkdir()
    (target / "tamis.json").write_text(json.dumps(dict(rows.card), indent=1), encoding="utf-8")
    written = 0
    pattern = str(target / "rows-%06d.tar").replace("%06d", "\0").replace("%", "%%").replace("\0", "%06d")
    with webdataset.ShardWriter(pattern, maxcount=SHARD_ROWS, maxsize=SHARD_BYTES, verbose=0, mtime=0.0) as writer:
        for block in rows.blocks():
            for sample in _samples(block, rows, PIL.Image):
                writer.write({"__key__": f"{written:09d}", **sample})
                written += 1
    return written


def _samples(block: pl.DataFrame, rows: ExportRows, pillow: Any) -> list[dict[str, Any]]:
    places = {name: place for place, name in enumerate(rows.dataset.classes)}
    (image, shape), *_ = [*rows.image_shapes.items(), (None, ())]
    described = block.drop(image) if image else block
    described = described.with_columns(
        pl.col(name).bin.encode("hex") for name, dtype in described.schema.items() if dtype == pl.Binary
    )
    pixels = np.asarray(block[image].to_numpy(), np.uint8).reshape(len(block), *shape) if image else None
    samples = []
    for number, row in enumerate(described.iter_rows(named=True)):
        sample: dict[str, Any] = {"json": json.dumps(_as_json(row), default=str, allow_nan=False).encode()}
        if rows.label is not None and str(row[rows.label]) in places:
            sample["cls"] = str(places[str(row[rows.label])]).encode()
        if pixels is not None:
            sample |= _encoded(pixels[number], pillow)
        samples.append(sample)
    return samples


def _as_json(value: Any) -> Any:
    """A value with null for each number in it that is not finite."""
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _encoded(image: Any, pillow: Any) -> dict[str, bytes]:
    stream = io.BytesIO()
    if image.ndim == 2 or image.shape[2] in (3, 4):
        pillow.fromarray(image).save(stream, format="png")
        return {"png": stream.getvalue()}
    np.save(stream, image, allow_pickle=False)
    return {"npy": stream.getvalue()}
