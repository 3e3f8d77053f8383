"""Plain pieces are parsed at once; the outcome must be that of reading cell by cell and line by line."""

import io
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from storage.ingest import delimited
from storage.ingest.formats import csv, jsonl
from storage.ingest.plain_lines import plain_lines
from storage.ingest.plain_rows import Pieces, plain_rows

TYPES = {"x": pl.Float64(), "n": pl.Int64(), "t": pl.Boolean(), "s": pl.String()}


def test_plain_rows_take_their_types_and_empty_cells_are_null():
    frame = plain_rows(b"1.5,2,true,a\r\n,,,\n-inf,+7,FALSE, b ", TYPES, ",")
    assert frame.rows() == [(1.5, 2, True, "a"), (None, None, None, None), (float("-inf"), 7, False, " b ")]


@pytest.mark.parametrize(
    "text",
    [
        b'1,2,true,"a"\n',
        b"1,2,true,a\n\n1,2,true,b\n",
        b"\n1,2,true,a\n",
        b"1,2,true,a\rb\n",
        b"1,2,true\n1,2,true,b,c\n",
        b"1,2,true,b,c\n1,2,true\n",
        b"1,2,true,b\n1,2,true\n",
        b"one,2,true,b\n",
        b"1,2.0,true,b\n",
        b"1,9223372036854775808,true,b\n",
        b"1,2,yes,b\n",
        b"1,2,true,\xff\n",
    ],
)
def test_a_piece_with_anything_else_in_it_is_not_plain(text):
    assert plain_rows(text, TYPES, ",") is None


def line(**values):
    return json.dumps({"x": 1.5, "n": 2, "t": True, "s": "a", **values}, separators=(",", ":")).encode() + b"\n"


def test_plain_lines_take_their_types_in_any_order_of_keys():
    other = b'{"s": "b", "t":false,"n":-3,"x":1e3}'
    assert plain_lines(line() + other.replace(b'": ', b'":'), TYPES).rows() == [
        (1.5, 2, True, "a"),
        (1000.0, -3, False, "b"),
    ]


def test_keys_that_are_whole_numbers_are_plain_in_a_column_of_text():
    text = b"".join(line(s=number) for number in (7, -12, 9007199254740993))
    assert plain_lines(text, TYPES)["s"].to_list() == ["7", "-12", "9007199254740993"]


@pytest.mark.parametrize(
    "bad",
    [
        line(s="a\\b"),
        line(s="\u00e9"),
        line(x=None),
        line(x="1"),
        line(n=2.0),
        line(s=1.0),
        line(s=3),
        line(s=["a", "b"]),
        line(s={"a": "b"}),
        line(z=1),
        line(z="1", s=2),
        b'{"x":1,"n":2,"t":true,"s":5,"x":6}\n',
        b'{"x":1,"n":2,"t":true,"s":5,"z" :6}\n',
        b'{"x":1,"n":2,"t":true}\n',
        b'{"x":1,"n":2,"t":true,"s":"a"\n',
        b"null\n",
        b"[]\n",
        b"\n",
    ],
)
def test_a_line_with_anything_else_in_it_makes_its_piece_not_plain(bad):
    assert plain_lines(line() + bad + line(), TYPES) is None


_CELL = st.sampled_from(
    [
        "",
        "1",
        "-2",
        "0.1",
        "1e3",
        " 4",
        "5 ",
        "nan",
        "-Infinity",
        "007",
        "true",
        "False",
        "x",
        "NA",
        '"q"',
        "\u00e9",
        "1e999",
    ]
)
_LINES = st.lists(st.lists(_CELL, min_size=1, max_size=3).map(",".join), min_size=1, max_size=30)


def outcome(module, path, types):
    blocks = list(module.read(str(path), types))
    frame = pl.concat([block.frame for block in blocks])
    rows = [int(place) for block in blocks for place in block.rows]
    bad = sorted((one.source_row, one.rule, one.row) for block in blocks for one in block.rejected)
    return frame, rows, bad


@settings(max_examples=40, deadline=None)
@given(lines=_LINES, ending=st.sampled_from(["\n", "\r\n", "\n\n"]), block=st.sampled_from([160, 1 << 20]))
def test_csv_has_one_outcome_whether_or_not_pieces_are_taken_as_plain(tmp_path_factory, lines, ending, block):
    path = tmp_path_factory.mktemp("toys") / "toys.csv"
    path.write_bytes(ending.join(["x,y", "1,2", *lines]).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", block)
        types = csv.columns(str(path)).columns
        quick = outcome(csv, path, types)
        patch.setattr(delimited, "plain_rows", lambda *_: None)
        assert csv.columns(str(path)).columns == types
        slow = outcome(csv, path, types)
    assert_frame_equal(quick[0], slow[0])
    assert quick[1:] == slow[1:]


_VALUE = st.one_of(
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text('a:,[]{}"\\ \u00e9', max_size=4),
    st.lists(st.text("a:", max_size=1), max_size=2),
)
_OBJECT = st.dictionaries(st.sampled_from(["x", "y"]), _VALUE, max_size=3)
_FEW = st.sampled_from([{"x": 1, "y": "a"}, {"x": 0.5, "y": "b"}, {"y": ":", "x": -1}, {"x": 2, "y": 3}])


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.one_of(_FEW, _FEW, _FEW, _OBJECT), min_size=1, max_size=6), dense=st.booleans())
def test_jsonl_has_one_outcome_whether_or_not_pieces_are_taken_as_plain(tmp_path_factory, rows, dense):
    path = tmp_path_factory.mktemp("toys") / "toys.jsonl"
    separators = (",", ":") if dense else (", ", ": ")
    first = {"x": 0.5, "y": "a"}
    path.write_text("".join(json.dumps(row, separators=separators) + "\n" for row in [first, *rows]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "SAMPLE_BYTES", 12)
        types = jsonl.columns(str(path)).columns
        quick = outcome(jsonl, path, types)
        patch.setattr(jsonl, "plain_lines", lambda *_: None)
        slow = outcome(jsonl, path, types)
        patch.setattr(jsonl, "_together", lambda *_: None)
        single = outcome(jsonl, path, types)
    assert_frame_equal(quick[0], slow[0])
    assert_frame_equal(quick[0], single[0])
    assert quick[1:] == slow[1:] == single[1:]


NUMBERS = "1. .5 +1 01 -01 - 1e 1E+2 -0 -0.0 0.1e-400 1e400 Infinity 1_0 tru nul [] {} 9223372036854775808"
TEXTS = (b'"\xff"', b'"\xc3"', b'"a\x01b"', b'""', b"'a'")


@pytest.mark.parametrize("cell", [*NUMBERS.encode().split(), *TEXTS])
@pytest.mark.parametrize("name", ["x", "n", "t", "s"])
def test_a_cell_is_taken_at_once_only_where_line_by_line_takes_the_same(tmp_path, monkeypatch, cell, name):
    cells = {"x": b"1.5", "n": b"2", "t": b"true", "s": b'"a"'}
    path = tmp_path / "toys.jsonl"
    rows = [cells, {**cells, name: cell}, cells]
    path.write_bytes(
        b"".join(b"{%s}\n" % b",".join(b'"%s":%s' % (k.encode(), v) for k, v in row.items()) for row in rows)
    )
    monkeypatch.setattr(jsonl, "SAMPLE_BYTES", 20)
    quick = outcome(jsonl, path, TYPES)
    monkeypatch.setattr(jsonl, "plain_lines", lambda *_: None)
    slow = outcome(jsonl, path, TYPES)
    assert_frame_equal(quick[0], slow[0], check_exact=True)
    assert quick[1:] == slow[1:]


@pytest.mark.parametrize("block", range(60, 140))
def test_a_piece_with_a_quote_may_end_anywhere_in_a_line(tmp_path, monkeypatch, block):
    path = tmp_path / "quoted.csv"
    rows = [(f"{'word ' * (place % 5)}end", str(place)) for place in range(60)]
    path.write_text("x,y\n" + "".join(f'"{text}",{place}\n' for text, place in rows), encoding="utf-8")
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    frame, places, bad = outcome(csv, path, csv.columns(str(path)).columns)
    assert frame["x"].to_list() == [text for text, _ in rows]
    assert places == list(range(2, 62))
    assert not bad


def test_pieces_are_read_to_the_full_until_the_end():
    class Trickle(io.BytesIO):
        def read(self, count=-1):
            return super().read(min(count, 3))

    pieces = Pieces(Trickle(b"0123456789"))
    pieces.put_back(b"ab")
    assert [pieces.read(5), pieces.read(5), pieces.read(5), pieces.read(5)] == [b"ab012", b"34567", b"89", b""]
