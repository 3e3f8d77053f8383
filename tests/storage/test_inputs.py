import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.dataset import input_array, input_shape
from storage.errors import SourceError
from storage.ingest import inputs
from storage.ingest.inputs import input_blocks
from storage.ingest.source import Source
from storage.schemas import Feature

NUMBER = Feature(name="x", kind="number")
COLOUR = Feature(name="colour", kind="category", categories=("blue", "red"))
VECTOR = Feature(name="v", kind="vector", shape=(3,))
IMAGE = Feature(name="image", kind="image", shape=(2, 2))


@pytest.mark.parametrize("features", [(NUMBER,), (COLOUR, NUMBER), (VECTOR, COLOUR, NUMBER), (IMAGE,)])
def test_the_shape_of_an_input_is_known_without_a_row(features):
    columns = {
        "x": [1.5, 2.5],
        "colour": ["red", "green"],
        "v": pl.Series([[1, 2, 3]] * 2, dtype=pl.Array(pl.Float32, 3)),
        "image": pl.Series([[1, 2, 3, 4]] * 2, dtype=pl.Array(pl.UInt8, 4)),
    }
    assert input_array(pl.DataFrame(columns), features).shape == (2, *input_shape(features))


@settings(deadline=None, max_examples=15)
@given(
    values=st.lists(st.none() | st.floats(allow_nan=False, width=32), min_size=1, max_size=30), size=st.integers(1, 9)
)
def test_however_rows_are_cut_each_comes_once_and_in_order(tmp_path_factory, values, size):
    place = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pl.DataFrame({"x": values, "id": range(len(values))}, schema={"x": pl.Float64, "id": pl.Int64}).write_parquet(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "ROWS_AT_A_TIME", size)
        blocks = list(input_blocks(Source(location=str(place)), (NUMBER,), key="id"))
    told = pl.concat(block.told for block in blocks)
    assert told["source_row"].to_list() == list(range(1, len(values) + 1))
    assert told["key"].to_list() == [str(one) for one in range(len(values))]
    good = [one for one in values if one is not None and np.isfinite(one)]
    assert pl.concat(block.frame for block in blocks)["x"].to_list() == good
    assert told["problem"].null_count() == len(good)
    assert all(len(block.told) <= size for block in blocks)


def test_columns_are_checked_before_any_row_is_read(tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    with pytest.raises(SourceError, match="lacks colour, which the model reads; it has y besides"):
        input_blocks(Source(location=str(tmp_path / "rows.csv")), (NUMBER, COLOUR))


def test_vectors_must_have_the_length_that_is_known_of_them(tmp_path):
    rows = pl.DataFrame({"v": [[1.0, 2.0, 3.0], [1.0, 2.0], [1.0, None, 3.0]]})
    rows.write_parquet(tmp_path / "rows.parquet")
    (block,) = input_blocks(Source(location=str(tmp_path / "rows.parquet")), (VECTOR,))
    assert block.told["problem"].to_list() == [None, "wrong shape", "non-finite number"]
    pl.DataFrame({"v": pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float32, 2))}).write_parquet(tmp_path / "two.parquet")
    with pytest.raises(SourceError, match=r"column 'v' of .* has the shape \(2,\); the model reads \(3,\)"):
        input_blocks(Source(location=str(tmp_path / "two.parquet")), (VECTOR,))


def test_vectors_of_a_text_file_are_known_by_the_features_and_not_by_its_first_rows(tmp_path):
    lines = ['{"v": null}', '{"v": [1, 2, 3]}', '{"v": [1, "2", 3]}', '{"v": 5}', '{"v": [1.5, 2, 3]}', '{"v": "no"}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    (block,) = input_blocks(Source(location=str(tmp_path / "rows.jsonl")), (VECTOR,))
    assert block.told["problem"].to_list() == ["missing value", None, "not a list", "not a list", None, "not a list"]
    assert block.frame["v"].to_list() == [[1.0, 2.0, 3.0], [1.5, 2.0, 3.0]]
    (tmp_path / "whole.jsonl").write_text(lines[1])
    (block,) = input_blocks(Source(location=str(tmp_path / "whole.jsonl")), (VECTOR,))
    assert block.frame["v"].to_list() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("dtype", [pl.List(pl.Int64), pl.Array(pl.UInt8, 3)])
def test_lists_of_whole_numbers_are_vectors_where_the_model_reads_vectors(tmp_path, dtype):
    pl.DataFrame({"v": pl.Series([[1, 2, 3]], dtype=dtype)}).write_parquet(tmp_path / "rows.parquet")
    (block,) = input_blocks(Source(location=str(tmp_path / "rows.parquet")), (VECTOR,))
    assert block.frame["v"].to_list() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("feature", [NUMBER, COLOUR, VECTOR, IMAGE])
def test_a_column_without_a_single_value_is_missing_in_every_row(tmp_path, feature):
    pl.DataFrame({feature.name: [None, None]}).write_parquet(tmp_path / "rows.parquet")
    (block,) = input_blocks(Source(location=str(tmp_path / "rows.parquet")), (feature,))
    assert block.told["problem"].to_list() == ["missing value"] * 2


@pytest.mark.parametrize(
    ("feature", "values", "found"),
    [
        (NUMBER, [[1.5]], r"holds List\(Float64\); the model reads a number; cast it there"),
        (COLOUR, [b"red"], "holds Binary; the model reads a category; cast it there"),
        (VECTOR, [["a"]], r"holds List\(String\); the model reads a vector; cast it there"),
        (IMAGE, [[0.5] * 4], r"holds List\(Float64\); the model reads an image; cast it there"),
    ],
)
def test_what_a_feature_cannot_be_read_from_is_told_without_advice_for_an_ingest(tmp_path, feature, values, found):
    pl.DataFrame({feature.name: values}).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(SourceError, match=found):
        input_blocks(Source(location=str(tmp_path / "rows.parquet")), (feature,))


def test_text_types_follow_the_features_and_not_the_first_rows(tmp_path):
    (tmp_path / "rows.csv").write_text("colour,x,note\n1,1,5\n2,2.5,late text\n,3,\n")
    colour = Feature(name="colour", kind="category", categories=("1", "2"))
    (block,) = input_blocks(Source(location=str(tmp_path / "rows.csv")), (colour, NUMBER))
    assert block.frame.rows() == [("1", 1.0), ("2", 2.5)]
    assert block.told["problem"].to_list() == [None, None, "missing value"]
