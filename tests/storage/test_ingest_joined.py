import polars as pl
import pytest

from flows.ingest_examples import source_hints, source_settings
from storage.errors import SourceError
from storage.files import Files
from storage.ingest.source import Source, fingerprint
from storage.schemas import Roles
from tests.storage.sources import csv_file, ingest_source, parquet_file

ROWS = pl.DataFrame({"id": [3, 1, 2, 9], "x": [3.0, 1.0, 2.0, 9.0]})
LABELS = pl.DataFrame({"id": [1, 2, 3, 4, 5], "worse": [0, 1, 1, 0, 0], "truth": [0, 0, 1, 0, 0]})
ROLES = Roles(features=("x",), label="worse", clean_label="truth", key="id")


def joined(root, labels):
    return Source(location=str(parquet_file(root, ROWS)), labels=str(labels), label_key="id")


def test_labels_of_a_second_file_join_by_key_and_both_sides_are_counted(tmp_path):
    source = joined(tmp_path, parquet_file(tmp_path, LABELS, "labels.parquet"))
    found = ingest_source(tmp_path, source, ROLES)
    assert found.examples.select("example_id", "label", "clean_label").rows() == [
        ("toys:3", 1, 1),
        ("toys:1", 0, 0),
        ("toys:2", 1, 0),
    ]
    assert found.bad() == [(4, "no label row")]
    assert found.bad_rows() == [{"id": 9, "x": 9.0}]
    assert found.counts["warnings"] == {"label row without an example": 2}


def test_one_column_of_the_second_file_may_be_the_label_and_the_others_stay_for_queries(tmp_path):
    source = joined(tmp_path, parquet_file(tmp_path, LABELS, "labels.parquet"))
    found = ingest_source(tmp_path, source, Roles(features=("x",), label="truth", key="id"))
    assert found.examples["worse"].to_list() == [1, 0, 1]
    assert found.schema.metadata == ("worse",)


def test_a_second_file_of_another_format_joins_by_the_text_of_the_key(tmp_path):
    source = joined(tmp_path, csv_file(tmp_path, "id,worse,truth\n3,cat,dog\n1,dog,true\n2,cat,cat\n", "labels.csv"))
    found = ingest_source(tmp_path, source, ROLES)
    assert found.examples["label"].to_list() == ["cat", "dog", "cat"]
    assert found.examples["clean_label"].to_list() == ["dog", "true", "cat"]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            LABELS.with_columns(id=pl.Series([1, 1, 3, 4, 5])),
            "has the key '1' more than once; keep one row of each key",
        ),
        (LABELS.with_columns(id=pl.Series([1, None, 3, 4, 5])), "is null in 1 rows; fill it"),
        (LABELS.rename({"id": "key"}), "label_key 'id' is not a column of"),
        (LABELS.rename({"worse": "x"}), "both have a column 'x'; rename one"),
        (LABELS.with_columns(id=pl.col("id") * 0.5), "is Float64; keys are whole numbers or text"),
    ],
)
def test_a_second_file_that_cannot_be_joined_is_refused(tmp_path, labels, sentence):
    with pytest.raises(SourceError) as caught:
        ingest_source(tmp_path, joined(tmp_path, parquet_file(tmp_path, labels, "labels.parquet")), ROLES)
    assert sentence in str(caught.value)


def test_a_row_of_the_second_file_that_cannot_be_read_is_refused(tmp_path):
    source = joined(tmp_path, csv_file(tmp_path, "id,worse,truth\n3,1\n", "labels.csv"))
    with pytest.raises(SourceError, match=r"line 2 of .*labels\.csv cannot be read: ragged row"):
        ingest_source(tmp_path, source, ROLES)


def test_labels_and_label_key_go_together():
    with pytest.raises(ValueError, match="labels and label_key go together"):
        Source(location="a.csv", labels="b.csv")


def test_the_fingerprint_changes_with_either_file_and_with_the_key(tmp_path):
    files = Files(tmp_path / "store")
    source = joined(tmp_path, parquet_file(tmp_path, LABELS, "labels.parquet"))
    first = fingerprint(source, files)
    assert first == fingerprint(source) != fingerprint(Source(location=source.location), files)
    parquet_file(tmp_path, LABELS[:3], "labels.parquet")
    assert fingerprint(source, files) != first
    assert source_settings(source, files)["label_key"] == "id"
    assert source_hints(source) == {"location": source.location, "labels": source.labels}
    alone = Source(location=source.location)
    assert set(source_settings(alone, files)) == {"format", "fingerprint"}
    assert source_hints(alone) == {"location": source.location}
