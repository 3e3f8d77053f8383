import gzip
import json

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import SourceError
from storage.ingest.formats import jsonl
from storage.ingest.source import Source
from storage.schemas import Roles
from tests.storage.sources import ingest

XY = Roles(features=("x",), label="y")
LINES = [{"x": 1, "y": "a"}, {"x": 2.5, "y": "b"}, {"y": "a", "x": 3}]


def jsonl_file(root, rows, name="toys.jsonl"):
    path = root / name
    lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    data = lines.encode("utf-8", "surrogatepass")
    if name.endswith(".gz"):
        data = gzip.compress(data)
    if name.endswith(".zst"):
        data = pa.Codec("zstd").compress(data, asbytes=True)
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(lines.encode())
        return path
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["toys.jsonl", "toys.ndjson", "toys.jsonl.gz", "toys.jsonl.zst"])
def test_objects_become_rows_whatever_the_order_of_keys_and_the_packing(tmp_path, name):
    found = ingest(tmp_path, jsonl_file(tmp_path, LINES, name))
    assert found.examples["x"].to_list() == [1.0, 2.5, 3.0]
    assert found.examples["label"].to_list() == ["a", "b", "a"]
    assert found.reports[-1].fraction == 1.0


def test_types_come_from_the_first_rows_and_missing_keys_are_null(tmp_path):
    rows = [
        {"id": 1, "whole": 1, "number": 1, "truth": True, "text": "a", "mixed": 1, "code": "007"},
        {"id": 2, "whole": 2, "number": 1.5, "truth": False, "text": None, "mixed": "b", "code": "8"},
        {"id": 3, "late": None},
    ]
    header = jsonl.columns(str(jsonl_file(tmp_path, rows)))
    assert dict(header.columns) == {
        "id": pl.Int64,
        "whole": pl.Int64,
        "number": pl.Float64,
        "truth": pl.Boolean,
        "text": pl.String,
        "mixed": pl.String,
        "code": pl.String,
        "late": pl.String,
    }
    found = ingest(tmp_path, tmp_path / "toys.jsonl", Roles(features=("id",)))
    assert found.examples.drop("example_id", "split", "id").rows() == [
        (1, 1.0, True, "a", "1", "007", None),
        (2, 1.5, False, None, "b", "8", None),
        (None, None, None, None, None, None, None),
    ]


def test_lines_that_are_no_objects_or_do_not_fit_their_columns_are_quarantined_with_their_line(tmp_path):
    rows = [
        LINES[0],
        "nope",
        "[1, 2]",
        "null",
        '{"x": 1, "y": "a"} {"x": 2}',
        "",
        {"x": "one", "y": "a"},
        {"x": True, "y": "a"},
        {"x": 1, "y": ["a", "b"]},
        {"x": 1, "y": "a", "z": 0},
        '{"x": NaN, "y": "a"}',
        '{"x": 1e999, "y": "a"}',
        '{"x": 1, "y": "\\ud800"}',
        {"x": None, "y": "a"},
        LINES[1],
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "SAMPLE_BYTES", 24)
        found = ingest(tmp_path, jsonl_file(tmp_path, rows))
    assert found.bad() == [
        (2, "not JSON"),
        (3, "not JSON"),
        (4, "not JSON"),
        (5, "not JSON"),
        (7, "not a number"),
        (8, "not a number"),
        (9, "not text"),
        (10, "unknown column"),
        (11, "not JSON"),
        (12, "not JSON"),
        (13, "not JSON"),
        (14, "missing value"),
    ]
    assert found.bad_rows()[0] == {"text": "nope"}
    assert found.bad_rows()[6] == {"x": 1, "y": ["a", "b"]}
    assert found.examples["x"].to_list() == [1.0, 2.5]


def test_lists_and_objects_are_kept_as_json_text_and_take_no_role(tmp_path):
    rows = [{"x": 1, "y": 0, "tags": ["a", {"b": 1}], "who": {"name": "é"}}, {"x": 2, "y": 1, "tags": None, "who": {}}]
    path = jsonl_file(tmp_path, rows)
    found = ingest(tmp_path, path)
    assert found.examples["tags"].to_list() == ['["a", {"b": 1}]', None]
    assert [json.loads(text) for text in found.examples["who"]] == [{"name": "é"}, {}]
    with pytest.raises(SourceError, match=r"label column 'tags' of .* holds lists or objects; it must hold one value"):
        ingest(tmp_path, path, Roles(features=("x",), label="tags"))
    with pytest.raises(SourceError, match=r"feature column 'who' of .* holds lists or objects, which no model reads"):
        ingest(tmp_path, path, Roles(features=("who",), label="y"))


def test_lists_of_bytes_are_images(tmp_path):
    rows = [{"image": [0, 255], "y": 1}, {"image": [1, 2, 3], "y": 0}, {"image": [1, None], "y": 0}, {"y": 0}]
    roles = Roles(features=("image",), label="y", image_shape=(1, 2))
    found = ingest(tmp_path, jsonl_file(tmp_path, rows), roles)
    assert found.examples["image"].to_list() == [[0, 255]]
    assert found.bad() == [(2, "wrong shape"), (3, "not a byte"), (4, "missing value")]


def test_keys_keep_their_text_and_large_whole_numbers_stay_exact(tmp_path):
    rows = [{"id": 9007199254740993, "x": 1, "y": 0}, {"id": 9007199254740992, "x": 1, "y": 0}]
    found = ingest(tmp_path, jsonl_file(tmp_path, rows), Roles(features=("x",), label="y", key="id"))
    assert found.examples["example_id"].to_list() == ["toys:9007199254740993", "toys:9007199254740992"]


@pytest.mark.parametrize("block_bytes", [16, 64, 1 << 20])
def test_the_size_of_blocks_changes_nothing(tmp_path, monkeypatch, block_bytes):
    rows = [{"x": row % 7, "y": f"k{row % 3}"} for row in range(40)]
    rows[5], rows[30] = "broken", ""
    path = jsonl_file(tmp_path, rows, "toys.jsonl.gz")
    whole = ingest(tmp_path / "whole", path)
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", block_bytes)
    if block_bytes == 16:
        with pytest.raises(SourceError, match="is longer than"):
            ingest(tmp_path / "pieces", path)
        return
    pieces = ingest(tmp_path / "pieces", path)
    assert pieces.examples.equals(whole.examples)
    assert pieces.bad() == whole.bad() == [(6, "not JSON")]
    assert pieces.counts == whole.counts


def test_several_files_are_one_source_and_a_bad_row_names_its_file_and_line(tmp_path):
    jsonl_file(tmp_path, [*LINES, "oops"], "a.jsonl")
    jsonl_file(tmp_path, ["oops", {"x": 9, "y": "b"}], "b.jsonl.gz")
    found = ingest(tmp_path, tmp_path / "*.jsonl*")
    assert found.examples["x"].to_list() == [1.0, 2.5, 3.0, 9.0]
    assert found.quarantine.select("source_file", "source_row", "rule").rows() == [
        ("a.jsonl", 4, "not JSON"),
        ("b.jsonl.gz", 1, "not JSON"),
    ]


def test_a_packed_file_that_unpacks_to_far_more_is_refused_and_a_short_one_too(tmp_path, monkeypatch):
    from storage.ingest import compressed

    path = jsonl_file(tmp_path, [{"x": 1, "y": "a" * 200}] * 2000, "toys.jsonl.gz")
    ingest(tmp_path, path)
    monkeypatch.setattr(compressed, "FREE_BYTES", 1000)
    monkeypatch.setattr(compressed, "MOST_RATIO", 20)
    with pytest.raises(SourceError, match=r"unpacks to more than 20 times its \d+ bytes, like a decompression bomb"):
        ingest(tmp_path, path)


def test_formats_that_are_not_read_packed_say_so():
    with pytest.raises(SourceError, match=r"\.gz and \.zst are read for csv, jsonl, tsv only; unpack it first"):
        Source(location="toys.parquet.gz").kind()


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text("ab\u00e9", max_size=3)
)
_CELLS = st.one_of(_VALUES, st.lists(_VALUES, max_size=2))
_ROWS = st.lists(
    st.one_of(st.dictionaries(st.sampled_from(["x", "y", "z"]), _CELLS), st.text('{}[]",x1\\ ', max_size=8)),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(rows=_ROWS, sample_bytes=st.sampled_from([32, 1 << 20]))
def test_every_line_is_kept_or_quarantined_once(tmp_path_factory, rows, sample_bytes):
    tmp_path = tmp_path_factory.mktemp("toys")
    path = jsonl_file(tmp_path, [{"x": 1, "y": "first row"}, *rows])
    lines = [number for number, line in enumerate(path.read_text().split("\n"), start=1) if line.strip()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "SAMPLE_BYTES", sample_bytes)
        header = jsonl.columns(str(path))
        blocks = list(jsonl.read(str(path), header.columns))
    kept = [int(place) for block in blocks for place in block.rows]
    bad = [one.source_row for block in blocks for one in block.rejected]
    assert sorted(kept + bad) == lines
    for block in blocks:
        for place, row in zip(block.rows.tolist(), block.frame.iter_rows(named=True), strict=True):
            original = json.loads(path.read_text().split("\n")[place - 1])
            assert {name for name, value in row.items() if value is not None} == {
                name for name, value in original.items() if value is not None
            }
