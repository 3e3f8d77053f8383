import io
import sys

import numpy as np
import polars as pl
import pytest
from PIL import Image

from storage.errors import SourceError
from storage.ingest import decode
from storage.schemas import Roles
from tests.storage.sources import ingest, parquet_file

RGB = Roles(features=("image",), label="label", image_shape=(2, 3, 3))
PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind)
    return stream.getvalue()


def test_encoded_images_in_a_column_are_decoded_to_their_bytes(tmp_path):
    jpeg = encoded(PIXELS, "JPEG")
    frame = pl.DataFrame({"image": [encoded(PIXELS), jpeg], "label": [0, 1]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), RGB)
    assert found.examples.schema["image"] == pl.Array(pl.UInt8, 18)
    assert found.examples["image"][0].to_list() == list(range(18))
    assert found.examples["image"][1].to_list() == np.asarray(Image.open(io.BytesIO(jpeg))).reshape(-1).tolist()
    assert found.schema.features[0].shape == (2, 3, 3)


def test_images_as_hugging_face_writes_them_are_decoded_and_their_path_is_kept(tmp_path):
    cells = [{"bytes": encoded(PIXELS), "path": "a.png"}, {"bytes": None, "path": "b.png"}]
    found = ingest(tmp_path, parquet_file(tmp_path, pl.DataFrame({"image": cells, "label": [0, 1]})), RGB)
    assert found.examples["image"][0].to_list() == list(range(18))
    assert found.examples["image_path"].to_list() == ["a.png"]
    assert found.bad() == [(2, "missing value")]


def test_what_cannot_be_decoded_or_has_another_shape_is_quarantined(tmp_path, monkeypatch):
    grey = PIXELS[..., 0]
    deep = Image.fromarray(np.full((2, 3), 60000, dtype=np.uint16))
    stream = io.BytesIO()
    deep.save(stream, format="PNG")
    huge = encoded(np.zeros((40, 40, 3), dtype=np.uint8))
    cut = encoded(np.random.default_rng(0).integers(0, 255, (2, 3, 3), dtype=np.uint8))[:-30]
    images = [encoded(PIXELS), b"nope", b"", None, encoded(PIXELS[:1]), encoded(grey), stream.getvalue(), huge, cut]
    monkeypatch.setattr(decode, "MOST_PIXELS", 1000)
    frame = pl.DataFrame({"image": images, "label": [0] * len(images)}, schema={"image": pl.Binary, "label": pl.Int64})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), RGB)
    assert found.counts["kept"] == 1
    assert found.bad() == [
        (2, "not an image"),
        (3, "not an image"),
        (4, "missing value"),
        (5, "wrong shape"),
        (6, "wrong shape"),
        (7, "not a byte"),
        (8, "image too large"),
        (9, "not an image"),
    ]


def test_a_palette_is_decoded_to_its_colours(tmp_path):
    flat = np.full((2, 3, 3), (10, 20, 30), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(flat).quantize(4).save(stream, format="PNG")
    assert Image.open(stream).mode == "P"
    frame = pl.DataFrame({"image": [stream.getvalue()], "label": [0]})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), RGB)
    assert found.examples["image"][0].to_list() == [10, 20, 30] * 6


def test_other_sizes_and_colours_are_resized_where_the_recipe_says_so(tmp_path):
    flat = np.full((8, 8, 3), (10, 20, 30), dtype=np.uint8)
    grey = np.full((5, 4), 7, dtype=np.uint8)
    frame = pl.DataFrame({"image": [encoded(flat), encoded(grey)], "label": [0, 1]})
    roles = Roles(features=("image",), label="label", image_shape=(2, 3, 3), image_fit="resize")
    found = ingest(tmp_path, parquet_file(tmp_path, frame), roles)
    assert found.examples["image"].to_list() == [[10, 20, 30] * 6, [7] * 18]
    with pytest.raises(ValueError, match="image_fit must be one of exact, resize, got 'crop'"):
        Roles(image_fit="crop")
    with pytest.raises(ValueError, match="image_fit has no effect"):
        lists = pl.DataFrame({"image": [[1, 2]], "label": [0]})
        ingest(
            tmp_path,
            parquet_file(tmp_path, lists, "l.parquet"),
            Roles(features=("image",), label="label", image_shape=(1, 2), image_fit="resize"),
        )


def test_bytes_without_a_shape_are_refused_and_so_are_two_channels(tmp_path):
    path = parquet_file(tmp_path, pl.DataFrame({"image": [encoded(PIXELS)], "label": [0]}))
    with pytest.raises(SourceError, match="holds bytes; if they are encoded images, say their image_shape"):
        ingest(tmp_path, path, Roles(features=("image",), label="label"))
    with pytest.raises(ValueError, match="encoded images have 1, 3 or 4 channels, image_shape has 2"):
        ingest(tmp_path, path, Roles(features=("image",), label="label", image_shape=(2, 3, 2)))


def test_without_pillow_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    path = parquet_file(tmp_path, pl.DataFrame({"image": [encoded(PIXELS)], "label": [0]}))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(
        SourceError, match=r"encoded images need Pillow; install it with: pip install 'tamis\[images\]'"
    ):
        ingest(tmp_path, path, RGB)


def test_large_images_are_decoded_a_few_at_a_time(tmp_path, monkeypatch):
    from storage.ingest import write

    monkeypatch.setattr(write, "_DECODED_BYTES", 40)
    frame = pl.DataFrame({"image": [encoded(PIXELS + row) for row in range(7)], "label": list(range(7))})
    found = ingest(tmp_path, parquet_file(tmp_path, frame), RGB)
    assert found.examples["image"].to_numpy()[:, 0].tolist() == list(range(7))
    assert len(list((tmp_path / "store").rglob("examples-*.parquet"))) > 3


def folder(root):
    for name, shade in (("cat/a.png", 1), ("cat/b.png", 2), ("dog/deep/c.png", 3)):
        path = root / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(np.full((2, 3, 3), shade, dtype=np.uint8)))
    return root / "pets"


def test_an_image_folder_gives_image_class_and_path(tmp_path):
    pets = folder(tmp_path)
    (pets / ".hidden").write_bytes(b"x")
    roles = Roles(features=("image",), label="label", key="path", image_shape=(2, 3, 3))
    found = ingest(tmp_path, pets, roles)
    assert found.examples.select("example_id", "label").rows() == [
        ("toys:cat/a.png", "cat"),
        ("toys:cat/b.png", "cat"),
        ("toys:dog/deep/c.png", "dog"),
    ]
    assert found.examples["image"].to_numpy()[:, 0].tolist() == [1, 2, 3]


def test_strangers_in_an_image_folder_are_quarantined_and_an_empty_one_is_refused(tmp_path):
    pets = folder(tmp_path)
    (pets / "cat" / "notes.txt").write_text("cats")
    (pets / "loose.png").write_bytes((pets / "cat" / "a.png").read_bytes())
    found = ingest(tmp_path, pets, RGB)
    assert found.bad() == [(3, "not an image"), (5, "null label")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no files of a known format"):
        ingest(tmp_path, tmp_path / "empty", RGB)
