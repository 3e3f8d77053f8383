"""Decoding: encoded images (JPEG, PNG and what else Pillow reads) to arrays of bytes of one shape.

Pillow is the extra `images`. A palette or a bitmap is decoded to its colours; the orientation that a camera
wrote into a file is not applied. The size in an image's header is checked before anything is unpacked.
"""

import io
import warnings
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import SourceError
from storage.schemas import ImageFit

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 64 << 20
"""A larger image is not unpacked."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_DEEP = ("I", "F")


def decoded_images(
    column: pl.Series, shape: tuple[int, ...], fit: ImageFit
) -> tuple[pl.Series, NDArray[np.object_] | None]:
    """Encoded images as rows of bytes.

    Args:
        column: (N,) encoded images; nulls stay null.
        shape: height, width and, for colour, channels (3, or 4 with transparency).
        fit: `exact` demands this shape of every image; `resize` scales by area and bilinear interpolation, and
            converts colours.

    Returns:
        (N,) arrays of height x width x channels bytes, null where there is no image; and (N,) the rule
        that each image breaks, or None if none does.

    Raises:
        SourceError: Pillow is not installed.
        ValueError: there is no such number of channels.
    """
    mode = _MODES.get(shape[2] if len(shape) == 3 else 1)
    if mode is None:
        raise ValueError(f"encoded images have 1, 3 or 4 channels, image_shape has {shape[2]}")
    pixels = np.zeros((len(column), int(np.prod(shape))), dtype=np.uint8)
    rules = np.full(len(column), None, dtype=np.object_)
    for place, data in enumerate(column):
        if data is not None:
            decoded = _decoded(data, shape, mode, fit)
            if isinstance(decoded, str):
                rules[place] = decoded
            else:
                pixels[place] = decoded.reshape(-1)
    images = pl.Series(column.name, pixels, dtype=pl.Array(pl.UInt8, pixels.shape[1]))
    if column.null_count():
        present = pl.Series("present", column.is_not_null())
        images = pl.select(pl.when(present).then(images).alias(column.name)).to_series()
    return images, rules if any(rules) else None


def _decoded(data: bytes, shape: tuple[int, ...], mode: str, fit: ImageFit) -> NDArray[np.uint8] | str:
    """One image's bytes, or the rule that it breaks."""
    pillow = _pillow()
    height, width = shape[:2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image = pillow.open(io.BytesIO(data))
            if image.width * image.height > MOST_PIXELS:
                return "image too large"
            if fit == "exact" and image.size != (width, height):
                return "wrong shape"
            image = _plain_colours(image)
    except (OSError, ValueError, SyntaxError, EOFError, pillow.DecompressionBombError):
        return "not an image"
    if image.mode.startswith(_DEEP):
        return "not a byte"
    if fit == "exact" and image.mode != mode:
        return "wrong shape"
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), pillow.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _plain_colours(image: "Image") -> "Image":
    """The image unpacked, with palettes, bitmaps and print colours as plain ones."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("1", "LA"):
        return image.convert("L" if image.mode == "1" else "RGBA")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("RGB")
    image.load()
    return image


def _pillow() -> ModuleType:
    try:
        return import_module("PIL.Image")
    except ImportError:
        raise SourceError("encoded images need Pillow; install it with: pip install 'tamis[images]'") from None
