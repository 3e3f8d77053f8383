from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.artifacts import Request
from storage.errors import NotFoundError, QueryError
from storage.lineage import ancestry, changed_requests, changed_settings
from storage.schemas import DatasetSchema
from storage.store import Store
from storage.values import Scores, Selection
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_store

TRAIN = ["toys:0", "toys:1", "toys:2", "toys:4"]


def add_dataset(store: Store, rows: pl.DataFrame, schema: DatasetSchema = SCHEMA, **more: object) -> str:
    request = Request(kind="dataset", settings={"name": "toys", **more}, inputs={"dataset": DATASET.id})
    with store.write(request) as draft:
        draft.add_table("examples", rows)
        draft.meta.update({"schema": schema.to_json(), "counts": {"by_split": {}}})
    store.publish("dataset", "toys", request.id)
    return request.id


def add_scores(store: Store, values: list[float], dataset: str = DATASET.id, **settings: object) -> str:
    scores = Scores(index=store.dataset(dataset).index("train"), values=np.array(values), high_means="suspect")
    request = Request(kind="scores", settings={"values": values, **settings}, inputs={"dataset": dataset})
    store.write_scores(request, scores, {})
    return request.id


def add_subset(
    store: Store,
    weights: list[float],
    *,
    scores: str | None = None,
    dataset: str = DATASET.id,
    labels: list[int] | None = None,
    seed: int = 0,
    **rule: object,
) -> None:
    selection = Selection(
        index=store.dataset(dataset).index("train"),
        weights=np.array(weights, dtype=np.float32),
        reasons=np.array(["in" if weight else "out" for weight in weights], dtype=object),
        labels=None if labels is None else np.array(labels),
    )
    inputs = {"dataset": dataset, **({} if scores is None else {"score.noise": scores})}
    request = Request(kind="selection", settings={"selector": {"method": "rule", **rule}}, inputs=inputs, seed=seed)
    store.write_selection(request, selection, {})
    store.publish("subset", "toys-clean", request.id)


def told(store: Store, *columns: str) -> list[tuple]:
    found = store.diff("toys-clean@1", "toys-clean@2")
    return found.rows.select("example_id", "change", *columns).rows()


def test_a_changed_parameter_is_named_with_both_values(tmp_path):
    store = toy_store(tmp_path)
    scores = add_scores(store, [1.0, 2.0, 3.0, 4.0])
    add_subset(store, [1, 1, 0, 0], scores=scores, maximum=2.5)
    add_subset(store, [1, 1, 1, 0], scores=scores, maximum=3.5)
    assert told(store, "was", "now", "cause", "name", "before", "after", "text") == [
        ("toys:2", "added", "out", "in", "rule", "maximum", 2.5, 3.5, "2.5 → 3.5")
    ]
    found = store.diff("toys-clean@1", "toys-clean@2")
    assert found.counts == {"kept": 2, "added": 1, "dropped": 0, "relabelled": 0, "weight changed": 0}
    assert [(one.role, one.name, one.before, one.after) for one in found.origins] == [
        ("", "selector.maximum", 2.5, 3.5)
    ]


def test_a_changed_score_is_named_with_both_values(tmp_path):
    store = toy_store(tmp_path)
    add_subset(store, [1, 1, 0, 0], scores=add_scores(store, [1.0, 2.0, 3.0, 4.0], epochs=3), maximum=2.5)
    add_subset(store, [1, 0, 0, 1], scores=add_scores(store, [1.0, 2.6, 3.0, 2.0], epochs=9), maximum=2.5)
    assert told(store, "cause", "name", "before", "after", "text") == [
        ("toys:4", "added", "score", "noise", 4.0, 2.0, "in"),
        ("toys:1", "dropped", "score", "noise", 2.0, 2.6, "out"),
    ]
    origins = store.diff("toys-clean@1", "toys-clean@2").origins
    assert ("score.noise", "epochs", 3, 9) in [(one.role, one.name, one.before, one.after) for one in origins]


def test_an_example_that_changed_only_its_place_among_others_says_so(tmp_path):
    store = toy_store(tmp_path)
    add_subset(store, [1, 1, 0, 0], scores=add_scores(store, [1.0, 2.0, 3.0, 4.0]), fraction=0.5)
    add_subset(store, [1, 0, 0, 1], scores=add_scores(store, [1.0, 2.0, 3.0, 0.0]), fraction=0.5)
    assert told(store, "cause", "name") == [
        ("toys:4", "added", "score", "noise"),
        ("toys:1", "dropped", "others", None),
    ]


def test_another_seed_is_the_cause_only_where_nothing_else_is(tmp_path):
    store = toy_store(tmp_path)
    add_subset(store, [1, 1, 0, 0], seed=1)
    add_subset(store, [1, 0, 1, 0], seed=2)
    assert told(store, "cause", "text") == [
        ("toys:2", "added", "seed", "1 → 2"),
        ("toys:1", "dropped", "seed", "1 → 2"),
    ]


def test_a_corrected_label_and_a_weight_each_have_a_row(tmp_path):
    store = toy_store(tmp_path)
    scores = add_scores(store, [1.0, 2.0, 3.0, 4.0])
    add_subset(store, [1, 1, 1, 0], scores=scores, correct=False)
    add_subset(store, [0.5, 1, 0.5, 0], scores=scores, correct=True, labels=[0, 1, 1, 1])
    assert told(store, "was", "now", "cause", "name") == [
        ("toys:2", "relabelled", "cat", "dog", "rule", "correct"),
        ("toys:0", "weight changed", "1.0", "0.5", "rule", "correct"),
        ("toys:2", "weight changed", "1.0", "0.5", "rule", "correct"),
    ]
    counts = store.diff("toys-clean@1", "toys-clean@2").counts
    assert counts == {"kept": 3, "added": 0, "dropped": 0, "relabelled": 1, "weight changed": 2}


def test_new_gone_moved_and_relabelled_rows_are_the_data_and_the_label(tmp_path):
    store = toy_store(tmp_path)
    add_subset(store, [1, 1, 1, 1])
    new = ROWS.filter(pl.col("example_id") != "toys:0").with_columns(
        split=pl.when(pl.col("example_id") == "toys:1").then(pl.lit("test")).otherwise("split"),
        label=pl.when(pl.col("example_id") == "toys:2").then(pl.lit("dog")).otherwise("label"),
    )
    more = ROWS.filter(pl.col("example_id") == "toys:0").with_columns(example_id=pl.lit("toys:9"))
    dataset = add_dataset(store, pl.concat([new, more]), edition=2)
    add_subset(store, [1, 1, 1], dataset=dataset)
    assert told(store, "cause", "name", "text") == [
        ("toys:9", "added", "data", None, "the row is new"),
        ("toys:0", "dropped", "data", None, "the row is gone"),
        ("toys:1", "dropped", "data", "split", "its split was train and is test"),
        ("toys:2", "relabelled", "label", "label", "cat → dog"),
    ]


def test_two_versions_of_a_data_set_are_compared_row_by_row(tmp_path):
    store = toy_store(tmp_path)
    changed = ROWS.filter(pl.col("example_id") != "toys:3").with_columns(
        label=pl.when(pl.col("example_id") == "toys:1").then(pl.lit("cat")).otherwise("label"),
        split=pl.when(pl.col("example_id") == "toys:2").then(pl.lit("test")).otherwise("split"),
        size=pl.when(pl.col("example_id") == "toys:4").then(pl.lit(None)).otherwise("size"),
    )
    more = ROWS.head(1).with_columns(example_id=pl.lit("toys:5"))
    add_dataset(store, pl.concat([changed, more]), edition=2)
    found = store.diff("toys@1", "toys@2")
    assert found.rows.select("example_id", "change", "was", "now", "cause", "name").rows() == [
        ("toys:5", "added", None, "train", "data", None),
        ("toys:3", "dropped", "test", None, "data", None),
        ("toys:1", "relabelled", "dog", "cat", "label", "label"),
        ("toys:2", "split changed", "train", "test", "data", "split"),
        ("toys:4", "content changed", None, None, "data", "size"),
    ]
    assert found.counts == {
        **{"kept": 4, "added": 1, "dropped": 1, "relabelled": 1},
        **{"split changed": 1, "content changed": 1},
    }
    assert ("edition", None, 2) in [(one.name, one.before, one.after) for one in found.origins]


def test_images_and_shared_files_are_compared_too(tmp_path):
    pixels = pl.Series("pixels", [[n, n] for n in range(5)], dtype=pl.Array(pl.UInt8, 2))
    store = toy_store(tmp_path, ROWS.with_columns(pixels))
    other = pl.Series("pixels", [[0, 0], [1, 9], [2, 2], [3, 3], [4, 4]], dtype=pl.Array(pl.UInt8, 2))
    add_dataset(store, ROWS.with_columns(other))
    rows = store.diff("toys@1", "toys@2").rows
    assert rows.select("example_id", "change", "name").rows() == [("toys:1", "content changed", "pixels")]


def test_a_version_beside_itself_shows_nothing(tmp_path):
    store = toy_store(tmp_path)
    add_subset(store, [1, 0, 1, 0])
    found = store.diff("toys-clean", "toys-clean@1")
    assert len(found.rows) == 0
    assert found.origins == ()
    assert found.counts["kept"] == 2
    assert len(store.diff("toys", "toys@1").rows) == 0


def test_a_wrong_pair_is_one_sentence(tmp_path):
    store = toy_store(tmp_path)
    add_subset(store, [1, 0, 1, 0])
    with pytest.raises(ValueError, match="toys is a dataset and toys-clean a subset; compare two subsets or two data"):
        store.diff("toys@1", "toys-clean@1")
    with pytest.raises(NotFoundError, match="nothing named 'x'; the store has toys, toys-clean"):
        store.diff("toys@1", "x@1")
    with pytest.raises(NotFoundError, match="has no version 2; it has toys-clean@1"):
        store.diff("toys-clean@1", "toys-clean@2")


def test_sql_answers_diff_like_a_table(tmp_path):
    store = toy_store(tmp_path)
    scores = add_scores(store, [1.0, 2.0, 3.0, 4.0])
    add_subset(store, [1, 1, 0, 0], scores=scores, maximum=2.5)
    add_subset(store, [1, 1, 1, 0], scores=scores, maximum=3.5)
    rows = store.diff("toys-clean@1", "toys-clean@2").rows
    assert store.sql("SELECT * FROM diff('toys-clean@1', 'toys-clean@2')").equals(rows)
    there_and_back = "diff('toys-clean@1', 'toys-clean@2') JOIN Diff('toys-clean@2', 'toys-clean@1') b"
    both = f"SELECT count(*) FROM {there_and_back} USING (example_id)"
    assert store.sql(both).item() == 1
    for wrong in ("diff('a')", "diff('a', name)", "diff(first := 'a', second := 'b')", "diff(['a', 'b'])"):
        with pytest.raises(QueryError, match="diff takes two versions, written out in single quotes"):
            store.sql(f"SELECT * FROM {wrong}")
    with pytest.raises(QueryError, match="compare two subsets or two data sets"):
        store.sql("SELECT * FROM diff('toys@1', 'toys-clean@1')")


@settings(deadline=None, max_examples=30)
@given(
    sides=st.tuples(*[st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=4) for _ in range(2)]).filter(
        lambda sides: sides[0] != sides[1]
    )
)
def test_counts_agree_with_a_loop_and_each_change_has_a_cause(tmp_path_factory, sides):
    store = toy_store(Path(tmp_path_factory.mktemp("diff")))
    for number, weights in enumerate(sides):
        add_subset(store, weights, step=number)
    found = store.diff("toys-clean@1", "toys-clean@2")
    pairs = list(zip(*sides, strict=True))
    assert found.counts == {
        "kept": sum(a > 0 and b > 0 for a, b in pairs),
        "added": sum(a == 0 and b > 0 for a, b in pairs),
        "dropped": sum(a > 0 and b == 0 for a, b in pairs),
        "relabelled": 0,
        "weight changed": sum(a > 0 and b > 0 and a != b for a, b in pairs),
    }
    changed = {example for example, (a, b) in zip(TRAIN, pairs, strict=True) if a != b}
    assert set(found.rows["example_id"]) == changed
    assert found.rows["cause"].null_count() == 0


def test_ancestry_lists_inputs_before_what_was_made_of_them(tmp_path):
    store = toy_store(tmp_path)
    scores = add_scores(store, [1.0, 2.0, 3.0, 4.0])
    add_subset(store, [1, 1, 0, 0], scores=scores)
    selection = store.version("subset", "toys-clean").artifact
    assert [record.id for record in ancestry(store.artifacts, selection)] == [DATASET.id, scores, selection]


def test_seeds_of_one_learner_are_told_once(tmp_path):
    store = toy_store(tmp_path)

    def trained(epochs: int) -> str:
        inputs = {}
        for seed in range(3):
            training = Request(kind="training", settings={"epochs": epochs}, seed=10 * epochs + seed)
            with store.write(training):
                pass
            inputs[f"signals.{seed:03d}"] = training.id
        request = Request(kind="scores", settings={}, inputs=inputs)
        with store.write(request):
            pass
        return request.id

    found = changed_requests(store.artifacts, trained(3), trained(5))
    assert [(one.role, one.name) for one in found] == [("signals.000", "epochs"), ("signals.000", "seed")]


def test_settings_are_compared_by_dotted_path_and_type():
    before = {"a": {"b": 1, "c": [1, 2]}, "d": {}}
    after = {"a": {"b": 1.0, "c": [1, 2]}, "e": None, "f": 2}
    assert changed_settings(before, after) == [("a.b", 1, 1.0), ("d", {}, None), ("f", None, 2)]
