import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.append import Wanted, append_examples
from storage.artifacts import Request
from storage.contract import Contract
from storage.dataset import input_array
from storage.errors import SourceError
from storage.ingest.identity import content_keys, feature_hashes
from storage.ingest.source import Source
from storage.ingest.write import ingest_examples
from storage.schemas import Feature, Roles
from storage.splits import SplitFractions
from storage.store import Store
from tests.storage.sources import ingest, parquet_file

ROLES = Roles(features=("v",), label="y", key="id")
NAN, INF = float("nan"), float("inf")


def frame_of(vectors, dtype=None) -> pl.DataFrame:
    rows = range(len(vectors))
    return pl.DataFrame(
        {"id": list(rows), "v": pl.Series(vectors, dtype=dtype), "y": ["a" if n % 2 else "b" for n in rows]}
    )


def lines_of(vectors) -> str:
    return "".join(json.dumps({"id": n, "v": one, "y": "a"}) + "\n" for n, one in enumerate(vectors))


def stored(root, frame: pl.DataFrame, roles: Roles = ROLES) -> Store:
    store = Store.create(root / "store")
    request = Request(kind="dataset", settings={"name": "toys"})
    source = Source(location=str(parquet_file(root, frame)))
    with store.write(request) as draft:
        list(
            ingest_examples(
                draft, name="toys", source=source, roles=roles, splits=SplitFractions(), contract=Contract(), seed=0
            )
        )
    store.publish("dataset", "toys", request.id)
    return store


@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.List(pl.Float32), pl.Array(pl.Float64, 3)])
def test_lists_of_numbers_are_stored_as_arrays_of_single_precision(tmp_path, dtype):
    found = ingest(tmp_path, parquet_file(tmp_path, frame_of([[1.5, 2.0, -3.0], [0.25, 0.5, 0.75]], dtype)), ROLES)
    assert found.examples.schema["v"] == pl.Array(pl.Float32, 3)
    assert found.examples["v"].to_list() == [[1.5, 2.0, -3.0], [0.25, 0.5, 0.75]]
    assert found.schema.features == (Feature(name="v", kind="vector", shape=(3,)),)


def test_rows_of_another_length_or_with_numbers_that_are_none_go_to_quarantine(tmp_path):
    vectors = [None, [1.0, 2.0], [1.0], [1.0, NAN], [INF, 0.0], [1.0, None], [], [3.0, 4.0], [1e300, 0.0]]
    found = ingest(tmp_path, parquet_file(tmp_path, frame_of(vectors, pl.List(pl.Float64))), ROLES)
    assert found.examples["v"].to_list() == [[1.0, 2.0], [3.0, 4.0]]
    assert found.bad() == [
        (1, "missing value"),
        (3, "wrong shape"),
        (4, "non-finite number"),
        (5, "non-finite number"),
        (6, "non-finite number"),
        (7, "wrong shape"),
        (9, "non-finite number"),
    ]
    assert found.bad_rows()[1]["v"] == [1.0]


def test_jsonl_lists_of_numbers_can_be_a_feature_and_are_text_otherwise(tmp_path):
    path = tmp_path / "toys.jsonl"
    path.write_text(lines_of([[1, 2.5], [1, 0], [0.5, None], [0.5, "x"], [0.5, 1.0, 2.0], None]))
    found = ingest(tmp_path, path, ROLES)
    assert found.examples["v"].to_list() == [[1.0, 2.5], [1.0, 0.0]]
    assert [rule for _, rule in found.bad()] == ["non-finite number", "not a list", "wrong shape", "missing value"]
    path.write_text(lines_of([[1, 2.5], [1, 0]]))
    roles = Roles(features=("id",), label="y")
    assert ingest(tmp_path, path, roles).examples["v"].to_list() == ["[1, 2.5]", "[1, 0]"]


def test_vectors_numbers_and_categories_stand_side_by_side():
    rows = pl.DataFrame(
        {
            "n": [7.0, 8.0],
            "v": pl.Series([[1.0, 2.0], [3.0, 4.0]], dtype=pl.Array(pl.Float32, 2)),
            "c": ["x", "y"],
        }
    )
    features = (
        Feature(name="n", kind="number"),
        Feature(name="v", kind="vector", shape=(2,)),
        Feature(name="c", kind="category", categories=("x", "y")),
    )
    found = input_array(rows, features)
    assert found.dtype == np.float32
    assert found.tolist() == [[7, 1, 2, 1, 0], [8, 3, 4, 0, 1]]
    assert input_array(rows, features[1:2]).tolist() == [[1, 2], [3, 4]]
    assert input_array(rows[:0], features[1:2]).shape == (0, 2)


def test_sql_sees_a_list(tmp_path):
    store = stored(tmp_path, frame_of([[1.0, 2.0], [3.0, 4.0]]))
    found = store.sql("SELECT v[2] AS second, len(v) AS n, v FROM dataset.toys ORDER BY example_id")
    assert found.rows() == [(2.0, 2, [1.0, 2.0]), (4.0, 2, [3.0, 4.0])]


def test_whole_numbers_are_not_taken_for_vectors_unasked(tmp_path):
    path = parquet_file(tmp_path, frame_of([[1, 2], [3, 4]]))
    with pytest.raises(SourceError, match="if they are vectors, cast their numbers to floats"):
        ingest(tmp_path, path, ROLES)


def appended(store: Store, source: Source) -> Store:
    old = store.dataset("toys")
    request = Request(kind="dataset", settings={"append": "toys"}, inputs={"dataset": old.id})
    wanted = Wanted(name="toys", roles=ROLES, splits=SplitFractions(), contract=Contract(), seed=0)
    with store.write(request) as draft:
        list(append_examples(draft, old, source, wanted))
    store.publish("dataset", "toys", request.id)
    return store


def test_appended_vectors_must_have_the_length_of_the_stored_ones(tmp_path):
    store = stored(tmp_path, frame_of([[1.0, 2.0], [3.0, 4.0]]))
    more = pl.DataFrame({"id": [5, 6], "v": [[1.0, 2.0, 3.0], [5.0, 6.0]], "y": ["a", "b"]})
    appended(store, Source(location=str(parquet_file(tmp_path, more, "more.parquet"))))
    rows = store.dataset("toys").scan().collect()
    assert rows.schema["v"] == pl.Array(pl.Float32, 2)
    assert dict(rows.select("example_id", "v").rows()) == {
        "toys:0": [1.0, 2.0],
        "toys:1": [3.0, 4.0],
        "toys:6": [5.0, 6.0],
    }
    words = pl.DataFrame({"id": [7], "v": ["none"], "y": ["a"]})
    with pytest.raises(SourceError, match="column 'v' of the new rows is String, and vectors in"):
        appended(store, Source(location=str(parquet_file(tmp_path, words, "words.parquet"))))


def test_a_jsonl_file_of_whole_numbers_can_be_appended_to_vectors(tmp_path):
    store = stored(tmp_path, frame_of([[1.0, 2.0], [3.0, 4.0]]))
    (tmp_path / "more.jsonl").write_text(json.dumps({"id": 9, "v": [5, 6], "y": "a"}) + "\n")
    appended(store, Source(location=str(tmp_path / "more.jsonl")))
    assert store.dataset("toys").scan().collect()["v"].to_list()[-1] == [5.0, 6.0]


VECTORS = st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=8)


@given(vectors=VECTORS)
@settings(deadline=None, max_examples=30)
def test_keys_and_drawn_splits_of_vectors_depend_on_their_row_alone(vectors):
    feature = (Feature(name="v", kind="vector", shape=(3,)),)
    frame = pl.DataFrame({"v": pl.Series(vectors, dtype=pl.Array(pl.Float32, 3))})
    rows = [frame[n : n + 1] for n in range(len(frame))]
    assert content_keys(frame, feature).to_list() == [content_keys(row, feature)[0] for row in rows]
    assert feature_hashes(frame, feature).tolist() == [feature_hashes(row, feature)[0] for row in rows]
    assert len(set(content_keys(frame, feature))) == len({tuple(one) for one in frame["v"].to_list()})
