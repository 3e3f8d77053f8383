import csv
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.contract import Contract
from storage.errors import ContractError, SourceError
from storage.ingest import delimited as csv_format
from storage.schemas import Roles
from tests.storage.sources import XY, csv_file, ingest


def test_a_small_file_becomes_examples_with_ids_splits_and_their_own_types(tmp_path):
    path = csv_file(tmp_path, "id,x,color,y,note\n7,1,red,3,a\n8,2.5,blue,1,b\n")
    roles = Roles(features=("x", "color"), label="y", key="id")
    found = ingest(tmp_path, path, roles)
    assert found.examples.columns == ["example_id", "label", "split", "x", "color", "note"]
    assert found.examples["example_id"].to_list() == ["toys:7", "toys:8"]
    assert found.examples["label"].to_list() == [3, 1]
    assert found.examples["x"].to_list() == [1.0, 2.5]
    assert found.examples["color"].to_list() == ["red", "blue"]
    assert found.schema.classes == ("1", "3")
    assert found.schema.metadata == ("note",)
    assert [(one.name, one.kind) for one in found.schema.features] == [("x", "number"), ("color", "category")]


def test_ragged_rows_too_short_and_too_long_go_to_quarantine_with_line_and_text(tmp_path):
    path = csv_file(tmp_path, "x,y\n1,a\n2\n3,b,c\n4,d\n")
    found = ingest(tmp_path, path)
    assert found.bad() == [(3, "ragged row"), (4, "ragged row")]
    assert found.bad_rows() == [{"text": "2"}, {"text": "3,b,c"}]
    assert found.examples["x"].to_list() == [1.0, 4.0]


def test_ragged_rows_fail_the_ingest_when_the_contract_says_so(tmp_path):
    path = csv_file(tmp_path, "x,y\n1,a\n2\n3,b,c\n4,d\n")
    with pytest.raises(ContractError) as caught:
        ingest(tmp_path, path, contract=Contract(action="fail"))
    assert str(caught.value) == (
        f"2 of 4 rows of {path} break the contract: 2 ragged row (first: line 3); "
        "correct them, or set the contract's action to 'quarantine'"
    )


def test_a_cell_that_is_no_number_is_quarantined_and_the_column_stays_a_number(tmp_path):
    path = csv_file(tmp_path, "x,y\n1,a\noops,b\n 3 ,c\n4,d\n")
    found = ingest(tmp_path, path)
    assert found.bad() == [(3, "not a number")]
    assert found.bad_rows() == [{"x": "oops", "y": "b"}]
    assert found.examples["x"].to_list() == [1.0, 3.0, 4.0]


def test_a_misfit_after_the_sampled_rows_is_quarantined_too(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_format, "SAMPLE_BYTES", 24)
    path = csv_file(tmp_path, "x,y\n" + "1,2\n" * 20 + "2.5,3\n1,cat\n")
    found = ingest(tmp_path, path)
    assert found.bad() == [(23, "not a number")]
    assert found.examples["x"].to_list()[-1] == 2.5
    assert found.examples.schema["label"] == pl.Int64


def test_empty_cells_infinities_and_overflows_in_features_are_quarantined(tmp_path):
    path = csv_file(tmp_path, "x,y\n1,a\n,b\nnan,c\n-inf,d\n1e999,e\n")
    found = ingest(tmp_path, path)
    assert found.bad() == [
        (3, "missing value"),
        (4, "non-finite number"),
        (5, "non-finite number"),
        (6, "non-finite number"),
    ]


def test_quotes_line_breaks_commas_and_carriage_returns_are_read_as_one_cell(tmp_path):
    path = csv_file(tmp_path, '\ufeffx,y\r\n"a, ""b""\nc",1\r\nd"e,2\r\n\r\nf,3\r\n')
    found = ingest(tmp_path, path, Roles(features=("x",), text=("x",), label="y"))
    assert found.examples["x"].to_list() == ['a, "b"\nc', 'd"e', "f"]
    assert found.schema.features[0].kind == "text"
    assert found.counts["read"] == 3


def test_keys_with_leading_zeros_stay_as_they_are_written(tmp_path):
    path = csv_file(tmp_path, "id,x,y,zip\n007,1,a,01234\n7,2,b,99999\n")
    found = ingest(tmp_path, path, Roles(features=("x",), label="y", key="id"))
    assert found.examples["example_id"].to_list() == ["toys:007", "toys:7"]
    assert found.examples["zip"].to_list() == ["01234", "99999"]


def test_true_and_false_are_features_of_one_and_zero(tmp_path):
    path = csv_file(tmp_path, "x,y\ntrue,a\nFalse,b\nmaybe,c\n")
    assert ingest(tmp_path, path).schema.features[0].kind == "category"
    path = csv_file(tmp_path, "x,y\ntrue,a\nFalse,b\n")
    assert ingest(tmp_path, path).examples["x"].to_list() == [1, 0]


def test_whole_number_labels_written_as_floats_become_integers(tmp_path):
    found = ingest(tmp_path, csv_file(tmp_path, "x,y\n1,10.0\n2,9.0\n3,\n"))
    assert found.examples["label"].to_list() == [10, 9]
    assert found.schema.classes == ("9", "10")
    assert found.bad() == [(4, "null label")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "{path} is empty"),
        (b"\n \n", "{path} is empty"),
        (b"x,y\n", "{path} has columns but no rows"),
        (b"x,y", "{path} has columns but no rows"),
        ("x,y\n1,é\n".encode("latin-1"), "{path} is not UTF-8 text"),
        ("é,y\n1,2\n".encode("latin-1"), "{path} is not UTF-8 text"),
        ("x,y\n1,2\n".encode("utf-16"), "{path} is not UTF-8 text; save it as UTF-8 with commas between the cells"),
        (b"PAR1\0\0\1,2\n3", "{path} is not UTF-8 text"),
        (b"x,x,y\n1,2,3\n", "{path} has two columns named 'x'; rename one"),
        (b",x,y\n1,2,3\n", "column 1 of {path} has no name in the header; give it one"),
        (b"1,2.5\n3,4\n", "the first line of {path} holds only numbers; put a header with column names above it"),
        (b'x,y\n1,"a\n2,b\n3,c\n', "a quote in {path} is never closed; it opens near 'a'"),
        (b'x,y\n"1,a\n2,b\n3,c\n', "a quote in {path} is never closed"),
        (b"x;y\n1;2\n", "label column 'y' is not in {path}; it has x;y"),
        (b"x,y\n1,\n2,\n", "label column 'y' of {path} is null in all 2 rows; declare no label for an unlabelled pool"),
        (b"x,y\n1\n2\n", "all 2 rows of {path} break the contract: 2 ragged row (first: line 2)"),
        (b"x,y\n1,2.5\n2,3\n", "the labels of {path} have fractions, which looks like regression"),
        (b"x,y\nnan,1\n,2\n", "all 2 rows of {path} break the contract: 1 missing value (line 3), 1 non-finite"),
    ],
)
def test_a_file_that_cannot_be_used_gives_one_clear_sentence(tmp_path, content, sentence):
    path = csv_file(tmp_path, content)
    with pytest.raises(SourceError) as caught:
        ingest(tmp_path, path)
    assert str(caught.value).startswith(sentence.format(path=path))
    assert "\n" not in str(caught.value)


def test_a_row_longer_than_a_block_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 1 << 10)
    path = csv_file(tmp_path, "x,y\n1,a\n2," + "b" * 5000 + "\n3,c\n")
    with pytest.raises(SourceError, match="a row is longer than"):
        ingest(tmp_path, path, Roles(features=("x",), label="y"))


@pytest.mark.parametrize("block_bytes", [16, 40, 1000, 1 << 20])
def test_the_size_of_blocks_changes_neither_ids_nor_splits_nor_places(tmp_path, monkeypatch, block_bytes):
    lines = [f"{row % 7},k{row % 5},{row % 3}" for row in range(60)]
    lines[10], lines[11], lines[40], lines[59] = "1", "2,b,c,d", "nope,b,1", "3"
    path = csv_file(tmp_path, "x,c,y\n" + "\n".join(lines) + "\n")
    whole = ingest(tmp_path, path, Roles(features=("x", "c"), label="y"))
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", block_bytes)
    pieces = ingest(tmp_path, path, Roles(features=("x", "c"), label="y"))
    assert pieces.examples.equals(whole.examples)
    assert (
        pieces.bad()
        == whole.bad()
        == [
            (12, "ragged row"),
            (13, "ragged row"),
            (42, "not a number"),
            (61, "ragged row"),
        ]
    )
    assert pieces.counts == whole.counts
    assert len(pieces.reports) >= len(whole.reports)


def test_reports_rise_to_the_whole_source(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 64)
    path = csv_file(tmp_path, "x,y\n" + "1,a\n2\n" * 100)
    reports = ingest(tmp_path, path, XY).reports
    assert len(reports) > 3
    assert [one.rows for one in reports] == sorted(one.rows for one in reports)
    assert all(one.rows == one.kept + one.quarantined for one in reports)
    assert reports[-1].fraction == 1.0
    assert reports[-1].rows == 200


_ROWS = st.lists(st.lists(st.text('ab,"\n 1é', max_size=4), min_size=1, max_size=4), min_size=1, max_size=15)


@settings(max_examples=40, deadline=None)
@given(rows=_ROWS, block_bytes=st.sampled_from([64, 1 << 20]))
def test_every_row_is_kept_or_ragged_as_the_standard_reader_says(tmp_path_factory, rows, block_bytes):
    tmp_path = tmp_path_factory.mktemp("toys")
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["x", "y"], ["first", "row"], *rows])
    path = csv_file(tmp_path, text.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_format, "BLOCK_BYTES", block_bytes)
        found = ingest(tmp_path, path, Roles(features=("x",), text=("x",)))
    whole = [("first", "row"), *(tuple(row) for row in rows if len(row) == 2)]
    assert found.examples.select("x", "y").rows() == whole
    assert found.bad() == [(place, "ragged row") for place, row in enumerate(rows, start=3) if len(row) != 2]
