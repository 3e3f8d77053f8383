from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.artifacts import Request
from storage.errors import NotFoundError, QueryError
from storage.store import Store
from storage.values import Scores, Selection
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_selection, toy_store


def publish_scores(store: Store, values: list[float], errors: list[float] | None = None, **columns: list) -> str:
    index = store.dataset("toys").index("train")
    scores = Scores(
        index=index,
        values=np.array(values),
        high_means="suspect",
        standard_error=None if errors is None else np.array(errors),
        columns={name: np.array(column) for name, column in columns.items()},
    )
    request = Request(kind="scores", settings={"values": values}, inputs={"dataset": DATASET.id})
    store.write_scores(request, scores, {})
    scored = Request(kind="scored", settings={"columns": {"noise": request.id}}, inputs={"dataset": DATASET.id})
    with store.write(scored) as draft:
        draft.meta.update({"dataset": DATASET.id, "columns": {"noise": request.id}})
    store.publish("scored", "toys", scored.id)
    return request.id


def publish_rule(store: Store, scores: str, maximum: float, labels: list[int] | None = None) -> None:
    index = store.dataset("toys").index("train")
    values = store.scores(scores).values
    selection = Selection(
        index=index,
        weights=(values <= maximum).astype(np.float32),
        reasons=np.where(values <= maximum, "low", "high").astype(object),
        labels=None if labels is None else np.array(labels),
    )
    rule = {"method": "threshold", "score": "noise", "minimum": None, "maximum": maximum}
    inputs = {"dataset": DATASET.id, "score.noise": scores}
    request = Request(kind="selection", settings={"selector": rule}, inputs=inputs)
    store.write_selection(request, selection, {"selector": rule})
    store.publish("subset", "toys-clean", request.id)


def facts(answer: pl.DataFrame, kind: str) -> dict[str, tuple]:
    chosen = answer.filter(kind=kind)
    return {row["name"]: (row["value"], row["rank"], row["percentile"], row["text"]) for row in chosen.rows(named=True)}


def test_scores_come_with_standard_error_rank_and_percentile(tmp_path):
    store = toy_store(tmp_path)
    publish_scores(store, [0.1, 0.9, 0.4, 0.4], [0.01, 0.02, 0.03, 0.04], suggested_label=[0, 0, 1, 1])
    answer = store.why("toys:2")
    # 0.9 is above 0.4, so its rank is 2; three of the four are at most 0.4: 75 %.
    assert facts(answer, "score") == {"noise": (0.4, 2, 75.0, "high means suspect; rank 1 is the highest of 4")}
    assert facts(answer, "detail") == {
        "noise_se": (0.03, None, None, "standard error over seeds"),
        "noise_suggested_label": (1.0, None, None, "dog"),
    }
    assert facts(store.why("toys:1"), "score")["noise"][:3] == (0.9, 1, 100.0)
    assert facts(store.why("toys:0"), "score")["noise"][:3] == (0.1, 4, 25.0)


def test_each_version_that_decided_tells_its_rule_and_what_the_rule_read(tmp_path):
    store = toy_store(tmp_path)
    scores = publish_scores(store, [0.1, 0.9, 0.4, 0.3])
    publish_rule(store, scores, 0.35)
    publish_rule(store, scores, 0.5, labels=[0, 1, 1, 1])
    answer = store.why("toys:2")
    first, second = (answer.filter(pl.col("version") == f"toys-clean@{number}") for number in (1, 2))
    assert facts(first, "subset") == {"weight": (0.0, None, None, "high")}
    assert facts(second, "subset") == {"weight": (1.0, None, None, "low"), "new_label": (1.0, None, None, "dog")}
    assert facts(first, "rule") == {"method": (None, None, None, "threshold")}
    assert facts(first, "setting") == {
        "score": (None, None, None, "noise"),
        "maximum": (0.35, None, None, None),
    }
    assert facts(first, "read")["noise"] == (0.4, 2, 75.0, "examples kept have 0.1 to 0.3; high means suspect")
    assert facts(second, "read")["noise"][3] == "examples kept have 0.1 to 0.4; high means suspect"


def test_a_label_equal_to_the_given_one_is_no_new_label(tmp_path):
    store = toy_store(tmp_path)
    scores = publish_scores(store, [0.1, 0.9, 0.4, 0.3])
    publish_rule(store, scores, 0.5, labels=[0, 1, 1, 1])
    assert "new_label" not in facts(store.why("toys:0"), "subset")


def test_the_row_is_told_for_the_newest_version_and_where_earlier_ones_differ(tmp_path):
    store = toy_store(tmp_path)
    layer = ROWS.select("example_id", label=pl.lit("dog"), clean_label="label")
    request = Request(kind="dataset", settings={"relabelled": True}, inputs={"dataset": DATASET.id})
    with store.write(request) as draft:
        draft.share(store.record(DATASET.id).table("examples"))
        draft.add_table("labels", layer.with_columns(why=pl.lit("looked at it")))
        draft.meta.update({"schema": SCHEMA.to_json(), "counts": {"by_split": {}}})
    store.publish("dataset", "toys", request.id)
    rows = store.why("toys:0").filter(kind="example").select("version", "name", "text").rows()
    assert rows == [
        ("toys@2", "split", "train"),
        ("toys@2", "label", "dog"),
        ("toys@2", "clean_label", "cat"),
        ("toys@2", "why", "looked at it"),
        ("toys@1", "label", "cat"),
    ]


def test_a_subset_over_an_earlier_version_still_counts_and_one_over_other_data_does_not(tmp_path):
    store = toy_store(tmp_path)
    toy_selection(store, [1, 0, 1, 1])
    other = Request(kind="dataset", settings={"name": "others"})
    with store.write(other) as draft:
        draft.add_table("examples", ROWS.with_columns(example_id=pl.col("example_id").str.replace("toys", "others")))
        draft.meta.update({"schema": SCHEMA.to_json(), "counts": {"by_split": {}}})
    store.publish("dataset", "others", other.id)
    store.publish("dataset", "toys", other.id)
    assert facts(store.why("toys:1"), "subset") == {"weight": (0.0, None, None, "dropped")}
    assert facts(store.why("toys:1"), "example")["absent"][3] == "the newest version does not have this example"
    assert facts(store.why("others:1"), "subset") == {}


def test_scores_and_subsets_of_a_data_set_made_from_this_one_under_another_name_are_told(tmp_path):
    store = toy_store(tmp_path)
    noisy = Request(kind="dataset", settings={"noise": 1}, inputs={"dataset": DATASET.id})
    with store.write(noisy) as draft:
        draft.share(store.record(DATASET.id).files)
        draft.meta.update(store.record(DATASET.id).meta)
    store.publish("dataset", "noisy", noisy.id)
    index = store.dataset("noisy").index("train")
    scores = Scores(index=index, values=np.arange(4.0), high_means="hard")
    request = Request(kind="scores", settings={}, inputs={"dataset": noisy.id})
    store.write_scores(request, scores, {})
    scored = Request(kind="scored", settings={}, inputs={"dataset": noisy.id, "score.odd": request.id})
    with store.write(scored) as draft:
        draft.meta.update({"dataset": noisy.id, "columns": {"odd": request.id}})
    store.publish("scored", "noisy", scored.id)
    answer = store.why("toys:1")
    assert facts(answer, "score")["odd"][:3] == (1.0, 3, 50.0)
    assert set(answer.filter(kind="example")["version"]) == {"toys@1", "noisy@1"}


def test_an_example_outside_the_training_split_has_neither_scores_nor_subsets(tmp_path):
    store = toy_store(tmp_path)
    scores = publish_scores(store, [0.1, 0.9, 0.4, 0.3])
    publish_rule(store, scores, 0.35)
    assert set(store.why("toys:3")["kind"]) == {"example"}


@pytest.mark.parametrize(
    ("example", "error", "sentence"),
    [
        ("toys", ValueError, "write <data set>:<key>"),
        ("none:1", NotFoundError, "no dataset named 'none'; the store has toys"),
        ("toys:99", NotFoundError, "data set 'toys' has no example 'toys:99'"),
        ("toys:' OR true --", NotFoundError, "has no example"),
    ],
)
def test_a_wrong_id_says_what_there_is(tmp_path, example, error, sentence):
    store = toy_store(tmp_path)
    with pytest.raises(error, match=sentence):
        store.why(example)


@settings(deadline=None, max_examples=25)
@given(values=st.lists(st.integers(-3, 3).map(float), min_size=4, max_size=4))
def test_rank_and_percentile_agree_with_counting(tmp_path_factory, values):
    store = toy_store(Path(tmp_path_factory.mktemp("why")))
    publish_scores(store, values)
    for place, example in enumerate(store.dataset("toys").index("train")):
        _, rank, percentile, _ = facts(store.why(example), "score")["noise"]
        assert rank == sorted(values, reverse=True).index(values[place]) + 1
        assert percentile == 100 * sum(value <= values[place] for value in values) / 4


def test_sql_answers_why_like_a_table(tmp_path):
    store = toy_store(tmp_path)
    scores = publish_scores(store, [0.1, 0.9, 0.4, 0.3])
    publish_rule(store, scores, 0.35)
    assert store.sql("SELECT * FROM why('toys:2')").equals(store.why("toys:2"))
    both = (
        "SELECT a.value, b.value FROM WHY('toys:0') a JOIN why($$toys:1$$) AS b USING (kind, name) WHERE kind = 'score'"
    )
    assert store.sql(both).rows() == [(0.1, 0.9)]
    joined = "SELECT w.name FROM dataset.toys d, why('toys:1') w WHERE d.example_id = 'toys:1' AND w.kind = 'read'"
    assert store.sql(joined).rows() == [("noise",)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM why()",
        "SELECT * FROM why(NULL)",
        "SELECT * FROM why(1)",
        "SELECT * FROM why('toys:1', 'toys:2')",
        "SELECT * FROM why(lower('TOYS:1'))",
        "SELECT * FROM why(example := 'toys:1')",
        "SELECT w.* FROM dataset.toys d, LATERAL why(d.example_id) w",
        "SELECT * FROM why((SELECT example_id FROM dataset.toys LIMIT 1))",
    ],
)
def test_sql_takes_only_one_written_out_id(tmp_path, sql):
    with pytest.raises(
        QueryError, match=r"why takes one example's id, written out in single quotes: why\('digits:17'\)"
    ):
        toy_store(tmp_path).sql(sql)


def test_sql_tells_a_wrong_id_and_keeps_its_own_tables_to_itself(tmp_path):
    store = toy_store(tmp_path)
    with pytest.raises(NotFoundError, match="has no example 'toys:x'"):
        store.sql("SELECT * FROM why('toys:x')")
    with pytest.raises(QueryError, match="is not an example's id"):
        store.sql("SELECT * FROM why('/etc/passwd')")
    for sql in ("SELECT * FROM why_rows", "SELECT * FROM main.why_rows, why('toys:1')"):
        with pytest.raises(NotFoundError, match=r"the store has dataset\.toys"):
            store.sql(sql)
