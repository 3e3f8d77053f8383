"""Malformed sources, each with what is expected of it: one clear sentence, or exact counts in quarantine."""

import gzip
import io
import json
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from storage.contract import Contract
from storage.errors import SourceError
from storage.ingest import compressed
from storage.schemas import Roles
from tests.storage.sources import ingest


def parquet_with_a_flipped_byte():
    """Stored values with checksums of pages, of which one byte is another."""
    stream = io.BytesIO()
    table = pa.table({"x": [1.0, 2.0, 3.0], "y": ["a"] * 3})
    pq.write_table(table, stream, compression="none", use_dictionary=False, write_page_checksum=True)
    content = stream.getvalue()
    place = content.index(np.array([2.0, 3.0]).tobytes())
    return content[:place] + b"\x01" + content[place + 1 :]


def parquet(**columns):
    stream = io.BytesIO()
    pl.DataFrame(columns).write_parquet(stream)
    return stream.getvalue()


def packed(data, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def pickled_npz():
    stream = io.BytesIO()
    np.savez(stream, x=np.array([{"a": 1}], dtype=object), y=np.array([0]))
    return stream.getvalue()


def zip_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (250_000,)})
        member.write(header.getvalue())
        member.write(bytes(2_000_000))
    return stream.getvalue()


JSON = b"".join(json.dumps({"x": row, "y": "ab"[row % 2]}).encode() + b"\n" for row in range(2000))
CSV = b"x,y\n" + b"".join(b"%d,%s\n" % (row, b"ab"[row % 2 :][:1]) for row in range(4000))

REFUSED = {
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\r\n  \r\n", "is empty"),
    "header_only.csv": (b"x,y\r\n", "has columns but no rows"),
    "latin1.csv": ("x,y\n1,caf\xe9\n".encode("latin-1"), "is not UTF-8 text"),
    "utf16.csv": ("x,y\n1,a\n".encode("utf-16"), "is not UTF-8 text; save it as UTF-8 with commas"),
    "utf16_without_mark.csv": ("x,y\n1,a\n".encode("utf-16-le"), "is not UTF-8 text"),
    "nul_bytes.csv": (b"x,y\n1,a\0b\n", "is not UTF-8 text"),
    "twice.csv": (b"x,x,y\n1,2,a\n", "has two columns named 'x'; rename one"),
    "case.csv": (b"x,X,y\n1,2,a\n", "columns 'x' and 'X' of {path} differ in case alone; rename one"),
    "case_unicode.csv": ("x,y,É,é\n1,a,2,3\n".encode(), "columns 'É' and 'é' of {path} differ in case alone"),
    "nameless.csv": (b"x,,y\n1,2,a\n", "column 2 of {path} has no name in the header"),
    "control_name.csv": (b"x,y,a\x07b\n1,a,2\n", "has a column named 'a\\x07b'; give it a printable name"),
    "newline_name.csv": (b'x,y,"a\nb"\n1,a,2\n', "has a column named 'a\\nb'; give it a printable name"),
    "numbers_as_header.csv": (b"1,2\n3,4\n", "holds only numbers; put a header with column names above it"),
    "semicolons.csv": (b"x;y\n1;a\n", "label column 'y' is not in {path}; it has x;y"),
    "open_quote.csv": (b'x,y\n1,"a\n2,b\n', "a quote in {path} is never closed"),
    "all_ragged.csv": (b"x,y\n1\n2\n3\n", "all 3 rows of {path} break the contract: 3 ragged row (first: line 2)"),
    "unlabelled.csv": (b"x,y\n1,\n2,\n", "is null in all 2 rows; declare no label for an unlabelled pool"),
    "fractional_labels.csv": (b"x,y\n1,0.5\n2,1.5\n", "looks like regression"),
    "reserved_twice.csv": (b"x,y,label,label_original\n1,a,2,3\n", "has both 'label' and 'label_original'"),
    "spaces.tsv": (b"x y\n1 a\n", "label column 'y' is not in {path}; it has x y"),
    "csv.zip": (b"PK\x03\x04", "format 'zip'; known formats are"),
    "packed.parquet.gz": (gzip.compress(b"x"), ".gz and .zst are read for csv, jsonl, tsv only; unpack it first"),
    "cut.csv.gz": (gzip.compress(CSV)[:-40], "cannot be unpacked"),
    "no_gzip.csv.gz": (b"x,y\n1,a\n", "cannot be unpacked"),
    "no_zstd.tsv.zst": (b"x\ty\n1\ta\n", "cannot be unpacked"),
    "latin1_late.csv": (CSV + "1,caf\xe9\n".encode("latin-1"), "is not UTF-8 text"),
    "open_quote_late.csv": (CSV + b'1,"a\n2,b\n', "a quote in {path} is never closed"),
    "no_ending": (b"x,y\n1,a\n", "no format can be seen from the name"),
    "empty.jsonl": (b"", "is empty"),
    "array.jsonl": (b'[{"x": 1, "y": "a"}]\n', "is a JSON object with a key; write one object a line"),
    "pretty.jsonl": (b'{\n "x": 1,\n "y": "a"\n}\n', "is a JSON object with a key; write one object a line"),
    "no_keys.jsonl": (b"{}\n{}\n", "is a JSON object with a key; write one object a line"),
    "utf16.jsonl": ('{"x": 1}\n'.encode("utf-16"), "is not UTF-8 text; save it as UTF-8 with one JSON object a line"),
    "csv_inside.jsonl": (b"x,y\n1,a\n", "is a JSON object with a key; write one object a line"),
    "multi_label.jsonl": (b'{"x": 1, "y": ["a", "b"]}\n', "label column 'y' of {path} holds lists or objects"),
    "multi_label_numbers.jsonl": (b'{"x": 1, "y": [1, 2]}\n', "label column 'y' of {path} is List(Int64)"),
    "nested_feature.jsonl": (b'{"x": {"a": 1}, "y": 1}\n', "feature column 'x' of {path} holds lists or objects"),
    "case.jsonl": (b'{"x": 1, "y": "a", "Y": "b"}\n', "columns 'y' and 'Y' of {path} differ in case alone"),
    "cut.jsonl.gz": (gzip.compress(JSON)[:-40], "cannot be unpacked"),
    "cut.jsonl.zst": (packed(JSON, "zstd")[:-40], "cannot be unpacked"),
    "no_gzip.jsonl.gz": (JSON, "cannot be unpacked"),
    "no_zstd.jsonl.zst": (JSON, "cannot be unpacked"),
    "empty.parquet": (b"", "is not a Parquet file, or it is damaged"),
    "csv_inside.parquet": (b"x,y\n1,a\n", "is not a Parquet file, or it is damaged"),
    "cut.parquet": (parquet(x=[1.0] * 99, y=["a"] * 99)[:-20], "is not a Parquet file, or it is damaged"),
    "flipped_byte.parquet": (parquet_with_a_flipped_byte(), "is damaged after row 0: could not verify page integrity"),
    "no_rows.parquet": (parquet(x=pl.Series([], dtype=pl.Float64), y=pl.Series([], dtype=pl.String)), "but no rows"),
    "case.parquet": (parquet(x=[1.0], X=[2.0], y=["a"]), "columns 'x' and 'X' of {path} differ in case alone"),
    "nameless.parquet": (
        parquet(**{"x": [1.0], "y": ["a"], "": [1]}),
        "has a column named ''; give it a printable name",
    ),
    "nul_name.parquet": (parquet(**{"x": [1.0], "y": ["a"], "a\0": [1]}), "give it a printable name"),
    "lists_as_labels.parquet": (parquet(x=[1.0], y=[["a", "b"]]), "label column 'y' of {path} is List(String)"),
    "dates_as_features.parquet": (parquet(x=[date(2020, 1, 1)], y=["a"]), "which no model reads"),
    "structures.parquet": (parquet(x=[{"a": 1}], y=["a"]), "is of type Struct"),
    "lists.parquet": (parquet(x=[[1, 2]], y=["a"]), "holds lists; if they are images, say their image_shape"),
    "bytes.parquet": (parquet(x=[b"abc"], y=["a"]), "holds bytes; if they are encoded images, say their image_shape"),
    "fractional_labels.parquet": (parquet(x=[1.0], y=[0.5]), "looks like regression"),
    "null_labels.parquet": (parquet(x=[1.0, 2.0], y=[None, None]), "is null in all 2 rows"),
    "infinite_labels.parquet": (parquet(x=[1.0], y=[float("inf")]), "looks like regression"),
    "nothing_finite.parquet": (parquet(x=[float("nan")], y=["a"]), "all 1 rows of {path} break the contract"),
    "empty.arrow": (b"", "is not an Arrow IPC file or stream, or it is damaged"),
    "noise.feather": (bytes(range(200)), "is not an Arrow IPC file or stream, or it is damaged"),
    "empty.npz": (b"", "is not an NPZ file, or it is damaged"),
    "pickled.npz": (pickled_npz(), "holds pickled objects, which are never loaded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_source_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, name):
    content, sentence = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        ingest(tmp_path, path)
    assert sentence.format(path=path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "store").rglob("record.json"))


BOMBS = {
    "bomb.jsonl.gz": lambda: gzip.compress(JSON + b" \n" * 1_000_000),
    "bomb.csv.gz": lambda: gzip.compress(CSV + b"1,a\n" * 1_000_000),
    "bomb.tsv.zst": lambda: packed(b"x\ty\n" + b"1\ta\n" * 1_000_000, "zstd"),
    "bomb_of_quotes.csv.zst": lambda: packed(CSV + b'1,"a"\n' * 1_000_000, "zstd"),
    "bomb.jsonl.zst": lambda: packed(JSON + b" \n" * 1_000_000, "zstd"),
    "bomb.npz": zip_bomb,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_unpacks_to_a_large_one_is_refused_by_its_ratio(tmp_path, monkeypatch, name):
    monkeypatch.setattr(compressed, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(compressed, "MOST_RATIO", 50)
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    with pytest.raises(SourceError, match=r"unpacks to more than 50 times its \d+ bytes, like a decompression bomb"):
        ingest(tmp_path, path)


BOM = b"\xef\xbb\xbf"
QUARANTINED = {
    "ragged.csv": (b"x,y\n1,a\n2\n3,b,c\n4,d\n", {"ragged row": 2}, 2),
    "mark.csv": (BOM + b"x,y\n1,a\n", {}, 1),
    "mixed_newlines.csv": (b"x,y\r\n1,a\n2,b\r\n\n3,c", {}, 3),
    "not_finite.csv": (b"x,y\nnan,a\ninf,b\n-inf,c\n1e999,d\n1,e\n", {"non-finite number": 4}, 1),
    "words_among_numbers.csv": (b"x,y\n1,a\ntwo,b\n3,c\n,d\n", {"not a number": 1, "missing value": 1}, 2),
    "huge_cell.csv": (b"x,y\n1," + b"a" * 3_000_000 + b"\n2,b\n", {}, 2),
    "huge_number.csv": (b"x,y\n" + b"9" * 400 + b",a\n1,b\n", {"non-finite number": 1}, 1),
    "null_words.csv": (b"x,y\n1,NULL\n2,NA\n3,\n", {"null label": 1}, 2),
    "unicode.csv": ("x,y,naïve café 🍵\n1,日本,Ω\n2,١,ß\n".encode(), {}, 2),
    "tabs.tsv": (b"x\ty\n1\ta\n2\n3\tb\tc\n", {"ragged row": 2}, 1),
    "garbage.jsonl": (b'{"x": 1, "y": "a"}\n\x80\x81\nnull\n3\n"s"\n{"x": 2, "y": "b"\n', {"not JSON": 5}, 1),
    "mark.jsonl": (BOM + b'{"x": 1, "y": "a"}\r\n\r\n{"x": 2, "y": "b"}', {}, 2),
    "deep.jsonl": (b'{"x": 1, "y": "a"}\n' + b"[" * 100_000 + b"\n", {"not JSON": 1}, 1),
    "nested_nulls.jsonl": (b'{"x": 1, "y": "a", "z": {"b": null}}\n{"x": null, "y": null}\n', {"null label": 1}, 1),
    "nan.jsonl": (b'{"x": NaN, "y": "a"}\n{"x": 1, "y": "a"}\n', {"not JSON": 1}, 1),
    "not_finite.parquet": (
        parquet(x=[1.0, float("nan"), float("inf"), None], y=["a"] * 4),
        {"missing value": 1, "non-finite number": 2},
        1,
    ),
    "nan_labels.parquet": (parquet(x=[1.0, 2.0], y=[float("nan"), 1.0]), {"null label": 1}, 1),
    "reserved_metadata.parquet": (parquet(x=[1.0], y=["a"], SPLIT=["mine"], Label=[1], example_id=["z"]), {}, 1),
    "nested_metadata.parquet": (
        parquet(x=[1.0], y=["a"], z=pl.Series([[{"a": None}]], dtype=pl.List(pl.Struct({"a": pl.Int64})))),
        {},
        1,
    ),
    "quotes_in_names.parquet": (parquet(**{"x": [1.0], "y": ["a"], 'a"; DROP TABLE b --': [1]}), {}, 1),
}


@pytest.mark.parametrize("name", QUARANTINED)
def test_a_source_with_bad_rows_keeps_the_good_ones_and_counts_the_others_by_rule(tmp_path, name):
    content, by_rule, kept = QUARANTINED[name]
    path = tmp_path / name
    path.write_bytes(content)
    found = ingest(tmp_path, path)
    assert found.counts["by_rule"] == by_rule
    assert found.counts["kept"] == kept


def test_metadata_whose_name_is_reserved_in_any_case_gets_a_suffix(tmp_path):
    path = tmp_path / "toys.parquet"
    path.write_bytes(QUARANTINED["reserved_metadata.parquet"][0])
    found = ingest(tmp_path, path)
    assert found.schema.metadata == ("SPLIT_original", "Label_original", "example_id_original")
    with pytest.raises(SourceError, match=r"feature column 'Label' of .* has a name that tamis uses itself"):
        ingest(tmp_path, path, Roles(features=("Label",), label="y"))


def test_a_missing_directory_a_directory_without_data_and_a_special_file_are_refused(tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "folder.csv").mkdir()
    for location, sentence in (
        (tmp_path / "absent.jsonl", "there is no file"),
        (tmp_path / "*.csv.none", "format 'none'"),
        (tmp_path / "nothing", "holds no files of a known format"),
        (tmp_path / "folder.csv", "holds no files of a known format"),
        (Path("/dev/null"), "no format can be seen from the name"),
    ):
        with pytest.raises(SourceError, match=sentence.replace("*", r"\*")):
            ingest(tmp_path, location)


_CELL = st.one_of(
    st.none(), st.integers(-5, 5), st.floats(), st.booleans(), st.text(st.characters(codec="utf-8"), max_size=4)
)
_TABLE = st.lists(st.fixed_dictionaries({"x": _CELL, "y": _CELL, "k": _CELL}), min_size=1, max_size=10)
_QUOTES = st.sampled_from(["always", "non_numeric"])
_FORMATS = st.sampled_from(["jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "parquet", "arrow"])


@settings(max_examples=40, deadline=None)
@given(rows=_TABLE, kind=_FORMATS, keyed=st.booleans(), labels=st.sampled_from([(), ("a", "1")]), quotes=_QUOTES)
def test_of_any_table_in_any_format_read_is_kept_plus_quarantined(tmp_path_factory, rows, kind, keyed, labels, quotes):
    tmp_path = tmp_path_factory.mktemp("toys")
    path = tmp_path / f"toys.{kind}"
    texts = [{name: None if cell is None else str(cell) for name, cell in row.items()} for row in rows]
    frame = pl.DataFrame(texts, schema={"x": pl.String, "y": pl.String, "k": pl.String})
    if kind == "parquet":
        frame.write_parquet(path)
    elif kind == "arrow":
        frame.write_ipc(path)
    elif kind in ("csv", "csv.gz", "tsv"):
        data = frame.write_csv(separator="\t" if kind == "tsv" else ",", quote_style=quotes).encode()
        path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    roles = Roles(features=("x",), label="y", key="k" if keyed else None)
    try:
        found = ingest(tmp_path, path, roles, Contract(labels=labels))
    except SourceError:
        event("refused whole")
        return
    assert found.counts["read"] == len(rows)
    places = [place for place, _ in found.bad()]
    assert len(set(places)) == len(places) == found.counts["quarantined"]


def test_the_tables_above_hold_at_least_forty_malformed_sources():
    assert len(REFUSED) + len(BOMBS) + len(QUARANTINED) >= 40
