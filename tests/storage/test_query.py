from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.artifacts import Artifacts, Request
from storage.errors import CorruptError, NotFoundError, QueryError
from storage.files import Files
from storage.query import query, sandbox, stream
from storage.schemas import DatasetSchema, Feature
from storage.statement import parse_statement
from storage.versions import Versions
from storage.views import Views

IDS = [f"toy:{number}" for number in range(6)]
SPLITS = ["train", "train", "train", "train", "validation", "test"]
LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]
SCHEMA = DatasetSchema(
    features=(Feature(name="pixels", kind="image", shape=(2, 2)),),
    classes=("cat", "dog"),
    groups=("in", "out"),
    metadata=("source", "taken_at"),
)


def write(artifacts: Artifacts, request: Request, tables: dict[str, pl.DataFrame], meta: dict | None = None) -> str:
    with artifacts.write(request) as draft:
        for name, frame in tables.items():
            draft.add_table(name, frame)
        draft.meta.update(meta or {})
    return request.id


def examples() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "example_id": IDS,
            "split": SPLITS,
            "pixels": pl.Series([[n, n, n, n] for n in range(6)], dtype=pl.Array(pl.UInt8, 4)),
            "label": LABELS,
            "group": ["in", "out"] * 3,
            "source": ["web", "web", None, "scan", "scan", "web"],
            "taken_at": [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 7)],
        }
    )


def write_dataset(artifacts: Artifacts, versions: Versions, name: str = "toy", **further: pl.DataFrame) -> str:
    request = Request(kind="dataset", settings={"name": name, "tables": sorted(further)})
    made = write(artifacts, request, {"examples": examples(), **further}, {"schema": SCHEMA.to_json()})
    versions.publish("dataset", name, made)
    return made


def write_scores(
    artifacts: Artifacts, dataset: str, name: str, values: dict[str, float], **further: list[object]
) -> str:
    frame = pl.DataFrame(
        {
            "example_id": list(values),
            "value": list(values.values()),
            "standard_error": pl.Series(further.pop("standard_error", [None] * len(values)), dtype=pl.Float64),
            **further,
        }
    )
    error = frame["standard_error"].null_count() == 0
    request = Request(kind="scores", settings={"scorer": name, "values": values}, inputs={"dataset": dataset})
    return write(artifacts, request, {"scores": frame}, {"has_standard_error": error, "columns": list(further)})


def write_scored(artifacts: Artifacts, versions: Versions, name: str, dataset: str, columns: dict[str, str]) -> str:
    request = Request(kind="scored", settings={"columns": columns}, inputs={"dataset": dataset})
    made = write(artifacts, request, {}, {"dataset": dataset, "columns": columns})
    versions.publish("scored", name, made)
    return made


def write_subset(
    artifacts: Artifacts, versions: Versions, name: str, dataset: str, labels: list[int | None] | None
) -> str:
    frame = pl.DataFrame(
        {
            "example_id": ["toy:3", "toy:1", "toy:0", "toy:2"],
            "weight": pl.Series([1.0, 0.0, 1.0, 0.5], dtype=pl.Float32),
            "reason": ["kept", "dropped: el2n", "kept", "kept"],
            "label": pl.Series(labels or [None] * 4, dtype=pl.Int64),
        }
    )
    request = Request(kind="selection", settings={"labels": labels}, inputs={"dataset": dataset})
    made = write(artifacts, request, {"selection": frame})
    versions.publish("subset", name, made)
    return made


class Shop:
    """The parts of a store, and the question to it."""

    def __init__(self, root: Path) -> None:
        self.files = Files(root)
        self.artifacts = Artifacts(self.files)
        self.versions = Versions(self.files)

    def ask(self, sql: str) -> pl.DataFrame:
        return query(self.files, self.artifacts, self.versions, sql)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "store")


@pytest.fixture
def scored_shop(shop: Shop) -> Shop:
    dataset = write_dataset(shop.artifacts, shop.versions)
    el2n = write_scores(
        shop.artifacts,
        dataset,
        "el2n",
        {"toy:2": 0.2, "toy:0": 0.0, "toy:3": 0.3, "toy:1": 0.1},
        standard_error=[0.02, 0.01, 0.03, 0.04],
    )
    noise = write_scores(
        shop.artifacts,
        dataset,
        "noise",
        {"toy:0": 9.0, "toy:1": 8.0, "toy:2": 7.0, "toy:3": 6.0},
        suggested_label=[0, 1, 1, 0],
    )
    write_scored(shop.artifacts, shop.versions, "toy", dataset, {"el2n": el2n, "noise": noise})
    return shop


def test_a_data_set_is_read_with_all_its_columns(shop: Shop) -> None:
    write_dataset(shop.artifacts, shop.versions)
    answer = shop.ask("SELECT * FROM dataset.toy ORDER BY example_id")
    assert answer.columns == examples().columns
    assert answer.drop("pixels").equals(examples().drop("pixels"))
    assert answer["pixels"].to_list() == examples()["pixels"].to_list()


def test_a_label_layer_overrides_label_and_adds_the_clean_label(shop: Shop) -> None:
    layer = pl.DataFrame({"example_id": IDS[::-1], "label": ["dog"] * 6, "clean_label": LABELS[::-1]})
    write_dataset(shop.artifacts, shop.versions, labels=layer)
    answer = shop.ask("SELECT example_id, label, clean_label FROM dataset.toy ORDER BY 1")
    assert answer["label"].to_list() == ["dog"] * 6
    assert answer["clean_label"].to_list() == LABELS
    assert shop.ask("SELECT count(*) AS n FROM dataset.toy WHERE clean_label = label").item() == 3


def test_a_fixed_version_and_the_newest_one_are_both_there(shop: Shop) -> None:
    write_dataset(shop.artifacts, shop.versions)
    layer = pl.DataFrame({"example_id": IDS, "label": ["cat"] * 6})
    write_dataset(shop.artifacts, shop.versions, labels=layer)
    counts = shop.ask(
        "SELECT (SELECT count(*) FROM dataset.\"toy@1\" WHERE label = 'dog') AS first, "
        "(SELECT count(*) FROM dataset.toy WHERE label = 'dog') AS newest, "
        "(SELECT count(*) FROM dataset.\"toy@latest\" WHERE label = 'dog') AS latest"
    )
    assert counts.rows() == [(3, 0, 0)]


def test_scores_stand_beside_their_example_and_are_null_outside_the_training_split(scored_shop: Shop) -> None:
    answer = scored_shop.ask("SELECT * FROM scored.toy ORDER BY example_id")
    assert answer.columns == [
        *("example_id", "split", "label", "group", "source", "taken_at"),
        *("el2n", "el2n_se", "noise", "noise_suggested_label"),
    ]
    assert answer["el2n"].to_list() == [0.0, 0.1, 0.2, 0.3, None, None]
    assert answer["el2n_se"].to_list() == [0.01, 0.04, 0.02, 0.03, None, None]
    assert answer["noise"].to_list() == [9.0, 8.0, 7.0, 6.0, None, None]
    assert answer["noise_suggested_label"].to_list() == ["cat", "dog", "dog", "cat", None, None]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT el2n FROM scored.toy WHERE example_id = 'toy:2'", [(0.2,)]),
        ("SELECT EL2N FROM scored.toy WHERE EXAMPLE_ID = 'toy:2'", [(0.2,)]),
        ("SELECT count(*) FROM scored.toy", [(6,)]),
        ("SELECT max(t.noise) FROM Scored.toy AS t WHERE t.el2n > 0.05", [(8.0,)]),
        ("SELECT toy.noise FROM scored.toy ORDER BY el2n DESC NULLS LAST LIMIT 1", [(6.0,)]),
        ("SELECT #7 FROM scored.toy WHERE example_id = 'toy:1'", [(0.1,)]),
        ("SELECT (t).noise FROM (SELECT s AS t FROM scored.toy s) WHERE (t).example_id = 'toy:0'", [(9.0,)]),
        ("SELECT COLUMNS('^noise$') FROM scored.toy WHERE example_id = 'toy:0'", [(9.0,)]),
        ("SELECT c FROM scored.toy AS t(a, b, c) WHERE a = 'toy:1'", [("dog",)]),
        ("FROM scored.toy SELECT sum(el2n)::DECIMAL(4, 1)", [(Decimal("0.6"),)]),
        ("SELECT count(*) FROM scored.toy a JOIN scored.toy b USING (el2n)", [(4,)]),
        ("SELECT count(*) FROM scored.toy NATURAL JOIN (SELECT 9.0::DOUBLE AS noise)", [(1,)]),
        ("WITH hard AS (SELECT * FROM scored.toy WHERE el2n > 0.1) SELECT count(*) FROM hard", [(2,)]),
        ("SELECT sum(value) FROM (UNPIVOT scored.toy ON el2n, noise)", [(30.6,)]),
        ("SELECT rank() OVER (ORDER BY noise) FROM scored.toy WHERE example_id = 'toy:2'", [(1,)]),
        ("SELECT count(*) FROM scored.toy, generate_series(1, 2)", [(12,)]),
        ("SELECT 1;  -- done", [(1,)]),
        (
            "SELECT a.el2n + b.noise FROM scored.toy a JOIN Scored.toy b USING (example_id) WHERE b.el2n > 0.25",
            [(6.3,)],
        ),
        ("SELECT T.EL2N FROM scored.toy t WHERE t.noise = 8", [(0.1,)]),
        ("SELECT a.el2n FROM (SELECT t.el2n FROM scored.toy t WHERE t.noise > 8) a", [(0.0,)]),
        ("SELECT (SELECT max(u.noise) FROM scored.toy u WHERE u.el2n > t.el2n) FROM scored.toy t LIMIT 1", [(8.0,)]),
        ("SELECT toy.el2n FROM scored.toy, (SELECT 7.0 AS noise) s WHERE toy.noise = s.noise", [(0.2,)]),
        ("WITH toy AS (SELECT noise FROM scored.toy) SELECT max(toy.noise) FROM toy", [(9.0,)]),
        ("SELECT scored.toy.noise FROM scored.toy WHERE scored.toy.el2n = 0.1", [(8.0,)]),
    ],
)
def test_a_query_means_the_same_whichever_columns_it_names(scored_shop: Shop, sql: str, expected: list) -> None:
    rows = scored_shop.ask(sql).rows()
    assert [[pytest.approx(value) if isinstance(value, float) else value for value in row] for row in rows] == [
        list(row) for row in expected
    ]


def test_describe_and_summarize_show_every_column(scored_shop: Shop) -> None:
    assert "noise_suggested_label" in scored_shop.ask("DESCRIBE scored.toy")["column_name"].to_list()
    assert "el2n_se" in scored_shop.ask("SUMMARIZE scored.toy")["column_name"].to_list()


def test_a_column_that_is_asked_of_one_table_is_not_joined_into_the_others(scored_shop: Shop) -> None:
    dataset = scored_shop.versions.find("dataset", "toy").artifact
    write_subset(scored_shop.artifacts, scored_shop.versions, "clean", dataset, None)
    sql = "SELECT s.label, avg(s.el2n) FROM scored.toy s JOIN subset.clean c USING (example_id) GROUP BY s.label"
    with sandbox() as connection:
        statement = parse_statement(connection, sql)
    views = Views(scored_shop.files, scored_shop.artifacts, scored_shop.versions)
    views_sql = {path: views.find(*path).sql(statement.columns_of(path)) for path in statement.tables}
    assert views_sql["scored", "toy"].count("read_parquet") == 2
    assert views_sql["subset", "clean"].count("read_parquet") == 1
    assert scored_shop.ask(f"SELECT count(*) FROM ({sql})").item() == 2


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(["el2n", "el2n_se", "noise", "label", "split", "group"]), min_size=1, unique=True)
)
def test_naming_some_columns_gives_what_reading_all_and_choosing_gives(scored_shop: Shop, names: list[str]) -> None:
    quoted = ", ".join(f'"{name}"' for name in names)
    some = scored_shop.ask(f"SELECT {quoted} FROM scored.toy ORDER BY example_id")
    every = scored_shop.ask("SELECT * FROM scored.toy ORDER BY example_id")
    assert some.equals(every.select(names))


def test_a_subset_shows_what_was_kept_dropped_and_relabelled(shop: Shop) -> None:
    dataset = write_dataset(shop.artifacts, shop.versions)
    write_subset(shop.artifacts, shop.versions, "toy-clean", dataset, [0, 1, 0, 1])
    answer = shop.ask('SELECT * FROM subset."toy-clean" ORDER BY example_id')
    assert answer.columns == [
        *("example_id", "weight", "reason", "label", "new_label", "relabelled", "split", "group"),
    ]
    assert answer["label"].to_list() == ["cat", "dog", "cat", "dog"]
    assert answer["new_label"].to_list() == [None, None, "dog", "cat"]
    assert answer["relabelled"].to_list() == [False, False, True, True]
    assert answer["weight"].to_list() == [1.0, 0.0, 0.5, 1.0]
    assert answer["split"].to_list() == ["train"] * 4


def test_a_subset_without_corrections_has_no_relabelled_row(shop: Shop) -> None:
    dataset = write_dataset(shop.artifacts, shop.versions)
    write_subset(shop.artifacts, shop.versions, "toy-clean", dataset, None)
    answer = shop.ask('SELECT sum(relabelled::INT)::INT AS n, count(new_label) AS m FROM subset."toy-clean@1"')
    assert answer.rows() == [(0, 0)]


def test_quarantined_rows_are_shown_and_an_empty_quarantine_is_an_empty_table(shop: Shop) -> None:
    write_dataset(shop.artifacts, shop.versions, "tidy")
    broken = pl.DataFrame({"source_row": [7], "rule": ["label is null"], "row": ['{"a": 1}']})
    write_dataset(shop.artifacts, shop.versions, "torn", quarantine=broken)
    assert shop.ask("SELECT * FROM quarantine.torn").rows() == [(7, "label is null", '{"a": 1}')]
    empty = shop.ask("SELECT * FROM quarantine.tidy")
    assert empty.schema == {"source_row": pl.Int64, "rule": pl.String, "row": pl.String}
    assert len(empty) == 0


def test_the_catalog_lists_versions_artifacts_and_lineage(scored_shop: Shop) -> None:
    versions = scored_shop.ask("SELECT * FROM catalog.versions ORDER BY kind")
    assert versions.select("kind", "name", "number", "version").rows() == [
        ("dataset", "toy", 1, "toy@1"),
        ("scored", "toy", 1, "toy@1"),
    ]
    assert versions["created_at"].dtype == pl.Datetime("us", "UTC")
    artifacts = scored_shop.ask("SELECT * FROM catalog.artifacts ORDER BY kind, id")
    assert artifacts["kind"].to_list() == ["dataset", "scored", "scores", "scores"]
    assert artifacts["rows"].to_list() == [6, 0, 4, 4]
    assert artifacts["size_bytes"][0] > 0
    dataset = artifacts["id"][0]
    assert scored_shop.ask("SELECT role, input FROM catalog.lineage").unique().rows() == [("dataset", dataset)]


def test_the_catalog_joins_a_version_with_its_artifact(scored_shop: Shop) -> None:
    answer = scored_shop.ask(
        "SELECT v.version, a.rows FROM catalog.versions v JOIN catalog.artifacts a ON v.artifact = a.id "
        "WHERE v.kind = 'dataset'"
    )
    assert answer.rows() == [("toy@1", 6)]


def test_metrics_of_evaluations_are_rows_with_the_seed_of_the_training(shop: Shop) -> None:
    training = write(shop.artifacts, Request(kind="training", settings={}, seed=11), {})
    request = Request(kind="evaluation", settings={"n": 1}, inputs={"training": training})
    meta = {"metrics": {"test_accuracy": 0.5, "ece": 0.1}, "learner": "elr", "data": "toy@1"}
    write(shop.artifacts, request, {}, meta)
    write(shop.artifacts, Request(kind="evaluation", settings={"n": 2}), {})
    answer = shop.ask("SELECT * EXCLUDE (artifact) FROM catalog.metrics ORDER BY metric")
    assert answer.rows() == [
        (None, "elr", "toy@1", None, 11, "ece", 0.1),
        (None, "elr", "toy@1", None, 11, "test_accuracy", 0.5),
    ]


def test_metrics_name_the_arm_of_each_evaluation_and_show_what_scores_detected(shop: Shop) -> None:
    ones = [Request(kind="evaluation", settings={"n": number}) for number in range(3)]
    for place, request in enumerate(ones):
        write(shop.artifacts, request, {}, {"metrics": {"test_accuracy": place / 10}, "learner": "erm", "data": "all"})
    for number, title in enumerate(("plain on all", "plain again")):
        inputs = {f"evaluation.{place:03d}.000": ones[place + number].id for place in range(2)}
        detection = [{"score": "aum", "auroc": 0.9, "precision": 0.75, "by_epoch": []}] if number else []
        meta = {"arms": [{"title": title}, {"title": "elr on the subset"}], "detection": detection}
        write(shop.artifacts, Request(kind="report", settings={"n": number}, inputs=inputs), {}, meta)
    answer = shop.ask("SELECT arm, score, metric, value FROM catalog.metrics ORDER BY value")
    assert answer.rows() == [
        ("plain on all", None, "test_accuracy", 0.0),
        ("elr on the subset, plain again", None, "test_accuracy", 0.1),
        ("elr on the subset", None, "test_accuracy", 0.2),
        (None, "aum", "precision", 0.75),
        (None, "aum", "auroc", 0.9),
    ]


def read_paths(monkeypatch: pytest.MonkeyPatch, shop: Shop, sql: str) -> list[str]:
    seen: list[str] = []
    read = Files.read
    monkeypatch.setattr(Files, "read", lambda self, path: seen.append(path) or read(self, path))
    shop.ask(sql)
    monkeypatch.undo()
    return [path for path in seen if path.endswith("record.json")]


def test_a_query_reads_the_records_it_needs_and_each_of_them_once(
    scored_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write(scored_shop.artifacts, Request(kind="evaluation", settings={"n": number}), {}, {"metrics": {}})
    needed = read_paths(monkeypatch, scored_shop, 'SELECT count(*) FROM scored.toy, scored."toy@1"')
    assert len(needed) == len(set(needed)) == 4  # the score columns, the data set and two scores
    assert read_paths(monkeypatch, scored_shop, "SELECT count(*) FROM catalog.versions") == []
    metrics = read_paths(monkeypatch, scored_shop, "SELECT count(*) FROM catalog.metrics")
    assert len(metrics) == 5
    everything = read_paths(
        monkeypatch, scored_shop, "SELECT count(*) FROM catalog.artifacts, catalog.lineage, catalog.metrics"
    )
    assert len(everything) == len(set(everything)) == 9


def test_an_artifact_that_is_still_being_written_is_not_in_the_catalogue(scored_shop: Shop) -> None:
    before = scored_shop.ask("SELECT count(*) FROM catalog.artifacts").item()
    with scored_shop.artifacts.write(Request(kind="scores", settings={"n": 1})):
        assert scored_shop.ask("SELECT count(*) FROM catalog.artifacts").item() == before
    assert scored_shop.ask("SELECT count(*) FROM catalog.artifacts").item() == before + 1


@pytest.mark.parametrize("table", ["versions", "models", "artifacts", "lineage", "metrics"])
def test_the_catalog_of_an_empty_store_is_empty(shop: Shop, table: str) -> None:
    assert len(shop.ask(f"SELECT * FROM catalog.{table}")) == 0


def test_the_same_table_of_two_stores_side_by_side_is_not_mixed_up(tmp_path: Path) -> None:
    first, second = Shop(tmp_path / "a'b"), Shop(tmp_path / "[x]*?")
    write_dataset(first.artifacts, first.versions)
    write_dataset(second.artifacts, second.versions, labels=pl.DataFrame({"example_id": IDS, "label": ["cat"] * 6}))
    question = "SELECT count(DISTINCT label) AS n FROM dataset.toy"
    assert (first.ask(question).item(), second.ask(question).item()) == (2, 1)


def test_a_name_that_needs_quotes_works(shop: Shop) -> None:
    write_dataset(shop.artifacts, shop.versions, "Web.crawl-2")
    assert shop.ask('SELECT count(*) FROM dataset."Web.crawl-2"').item() == 6
    with pytest.raises(QueryError, match=r'stand in double quotes: scored."fashion@3"'):
        shop.ask("SELECT * FROM dataset.crawl-2")
    with pytest.raises(QueryError, match=r'dataset."Web.crawl"'):
        shop.ask("SELECT * FROM dataset.Web.crawl")


def test_an_unknown_name_is_answered_with_the_names_there_are(scored_shop: Shop) -> None:
    write_dataset(scored_shop.artifacts, scored_shop.versions, "other-one")
    with pytest.raises(
        NotFoundError, match=r'no dataset.toi; of dataset the store has dataset."other-one", dataset.toy'
    ):
        scored_shop.ask("SELECT * FROM dataset.toi")
    with pytest.raises(NotFoundError, match=r"no version 2; it has toy@1"):
        scored_shop.ask('SELECT * FROM scored."toy@2"')
    with pytest.raises(NotFoundError, match=r"no scores yet.*\[scorers\]"):
        scored_shop.ask('SELECT * FROM scored."other-one"')
    with pytest.raises(NotFoundError, match=r"no subset.x; of subset the store has none yet"):
        scored_shop.ask("SELECT * FROM subset.x")
    with pytest.raises(NotFoundError, match=r"not a version"):
        scored_shop.ask('SELECT * FROM scored."toy@three"')


@pytest.mark.parametrize("name", ["toy", "score.toy", "information_schema.tables", "catalog.nothing", "main.toy"])
def test_an_unknown_table_is_answered_with_every_table_there_is(scored_shop: Shop, name: str) -> None:
    with pytest.raises(NotFoundError, match=r"dataset.toy, scored.toy, quarantine.toy, catalog.versions"):
        scored_shop.ask(f"SELECT * FROM {name}")


def test_a_typo_in_a_column_is_answered_with_the_column_meant(scored_shop: Shop) -> None:
    with pytest.raises(QueryError) as caught:
        scored_shop.ask("SELECT el2m FROM scored.toy")
    assert 'Referenced column "el2m" not found' in str(caught.value)
    assert '"el2n"' in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "query(" not in str(caught.value)


def test_a_typo_in_a_function_or_the_grammar_is_named(scored_shop: Shop) -> None:
    with pytest.raises(QueryError, match=r'Did you mean "median"'):
        scored_shop.ask("SELECT mediam(el2n) FROM scored.toy")
    with pytest.raises(QueryError, match=r'syntax error at or near "scored" \(character 15\)'):
        scored_shop.ask("SELECT * FORM scored.toy")


def test_a_value_that_cannot_be_computed_is_one_sentence(scored_shop: Shop) -> None:
    with pytest.raises(QueryError, match=r"^Could not convert string 'toy:\d' to INT32"):
        scored_shop.ask("SELECT example_id::INT FROM scored.toy")


def test_two_names_that_differ_in_case_are_not_mixed_up(shop: Shop) -> None:
    write_dataset(shop.artifacts, shop.versions, "toy")
    write_dataset(shop.artifacts, shop.versions, "Toy", labels=pl.DataFrame({"example_id": IDS, "label": ["cat"] * 6}))
    assert shop.ask("SELECT count(DISTINCT label) FROM dataset.Toy").item() == 1
    with pytest.raises(QueryError, match="'toy' and 'Toy', which one query cannot tell apart"):
        shop.ask("SELECT * FROM dataset.toy, dataset.Toy")


def test_two_columns_that_differ_in_case_are_refused(scored_shop: Shop) -> None:
    dataset = scored_shop.versions.find("dataset", "toy").artifact
    scores = write_scores(scored_shop.artifacts, dataset, "x", {"toy:0": 1.0})
    write_scored(scored_shop.artifacts, scored_shop.versions, "toy", dataset, {"x": scores, "X": scores})
    with pytest.raises(QueryError, match="columns 'x' and 'X', which SQL cannot tell apart"):
        scored_shop.ask("SELECT x FROM scored.toy")


def test_a_missing_and_a_damaged_file_are_named(shop: Shop) -> None:
    artifact = write_dataset(shop.artifacts, shop.versions)
    path = shop.files.locate(shop.artifacts.record(artifact).table("examples")[0].path)
    path.write_bytes(b"PAR1 no longer PAR1")
    with pytest.raises(CorruptError, match=r"examples-00000.parquet .* cannot be read"):
        shop.ask("SELECT * FROM dataset.toy")
    path.unlink()
    with pytest.raises(CorruptError, match=r"lacks its file .*/examples-00000.parquet"):
        shop.ask("SELECT * FROM dataset.toy")


def test_values_come_back_with_their_types(shop: Shop) -> None:
    answer = shop.ask(
        "SELECT TIMESTAMP '2024-05-06 07:08:09.123456' AS t, TIMESTAMPTZ '2024-05-06 07:08:09+02' AS z, "
        "DATE '2024-02-29' AS d, 1.25::DECIMAL(10, 2) AS m, NULL::DOUBLE AS n, [1, NULL] AS l, "
        "{'a': 1, 'b': 'x'} AS s, 'é''\"' AS q, true AS b, 2::TINYINT AS i, 'u'::ENUM('u', 'v') AS e, 'ab'::BLOB AS r"
    )
    row = answer.row(0, named=True)
    assert row["t"] == datetime(2024, 5, 6, 7, 8, 9, 123456)
    assert row["z"] == datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC)
    assert (row["d"], row["m"], row["n"], row["l"]) == (date(2024, 2, 29), Decimal("1.25"), None, [1, None])
    assert (row["s"], row["q"], row["b"], row["i"]) == ({"a": 1, "b": "x"}, "é'\"", True, 2)
    assert (row["e"], row["r"]) == ("u", b"ab")
    assert answer.schema["z"] == pl.Datetime("us", "UTC")
    assert answer.schema["i"] == pl.Int8


@pytest.mark.parametrize("value", ["INTERVAL 1 DAY", "{'a': [INTERVAL 1 DAY]}", "union_value(a := 1)", "1::VARIANT"])
def test_a_type_without_a_place_in_a_table_is_refused_with_a_way_out(shop: Shop, value: str) -> None:
    with pytest.raises(QueryError, match=r'column \'x\' is of type .*"x"::VARCHAR'):
        shop.ask(f"SELECT {value} AS x")


def test_equal_column_names_are_told_apart(shop: Shop) -> None:
    assert shop.ask("SELECT 1 AS a, 2 AS a").rows() == [(1, 2)]


def test_order_survives_and_parts_make_up_the_whole(shop: Shop) -> None:
    sql = "SELECT range AS n, CASE WHEN range > 250000 THEN 'b' END AS c FROM range(300000) ORDER BY n DESC"
    parts = list(stream(shop.files, shop.artifacts, shop.versions, sql, rows_per_frame=50_000))
    assert len(parts) > 1
    assert max(map(len, parts)) <= 50_000
    assert pl.concat(parts)["n"].to_list() == list(range(299_999, -1, -1))
    assert {tuple(part.schema.items()) for part in parts} == {(("n", pl.Int64), ("c", pl.String))}


def test_an_error_in_a_later_part_is_a_query_error(shop: Shop) -> None:
    sql = "SELECT CASE WHEN range = 400000 THEN error('late') ELSE 'fine' END FROM range(500000)"
    parts = stream(shop.files, shop.artifacts, shop.versions, sql, rows_per_frame=10_000)
    assert len(next(parts)) == 10_000
    with pytest.raises(QueryError, match=r"^late$"):
        list(parts)


def test_an_answer_without_rows_keeps_its_columns(scored_shop: Shop) -> None:
    answer = scored_shop.ask("SELECT example_id, el2n FROM scored.toy WHERE el2n > 5")
    assert answer.schema == {"example_id": pl.String, "el2n": pl.Float64}
    assert len(answer) == 0


def test_a_size_of_parts_below_one_is_refused(shop: Shop) -> None:
    with pytest.raises(ValueError, match="rows_per_frame must be at least 1, got 0"):
        next(stream(shop.files, shop.artifacts, shop.versions, "SELECT 1", rows_per_frame=0))


def test_what_does_not_fit_in_memory_spills_outside_the_store(shop: Shop, tmp_path: Path) -> None:
    write_dataset(shop.artifacts, shop.versions)
    before = sorted(tmp_path.rglob("*"))
    assert shop.ask("SELECT count(*) FROM (SELECT hash(range) AS h FROM range(300000) ORDER BY h)").item() == 300_000
    assert sorted(tmp_path.rglob("*")) == before


def test_files_added_to_a_data_set_are_read_with_those_it_kept(shop: Shop) -> None:
    first = write_dataset(shop.artifacts, shop.versions)
    request = Request(kind="dataset", settings={"more": True}, inputs={"before": first})
    with shop.artifacts.write(request) as draft:
        draft.share(shop.artifacts.record(first).files)
        more = examples().with_columns(example_id="new:" + pl.col("example_id"))
        draft.add_table("examples", more.select(sorted(more.columns)))
        draft.meta["schema"] = SCHEMA.to_json()
    shop.versions.publish("dataset", "toy", request.id)
    assert shop.ask("SELECT count(*) FROM dataset.toy").item() == 12
    assert shop.ask("SELECT label FROM dataset.toy WHERE example_id = 'new:toy:1'").item() == "dog"
    sizes = shop.ask("SELECT rows, size_bytes FROM catalog.artifacts ORDER BY rows")
    assert sizes["rows"].to_list() == [6, 12]
    assert sizes["size_bytes"][1] < 2 * sizes["size_bytes"][0]


def test_names_made_by_with_are_not_looked_up_in_the_store(scored_shop: Shop) -> None:
    sql = (
        "WITH RECURSIVE steps AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM Steps WHERE n < 3), "
        "toy AS (WITH inner_one AS (SELECT 7 AS m) SELECT m FROM inner_one) "
        "SELECT (SELECT max(n) FROM steps), (SELECT m FROM toy), (SELECT count(*) FROM scored.toy)"
    )
    assert scored_shop.ask(sql).rows() == [(3, 7, 6)]


def test_a_score_that_is_not_named_is_not_read(scored_shop: Shop) -> None:
    scored = scored_shop.artifacts.record(scored_shop.versions.find("scored", "toy").artifact)
    noise = scored_shop.artifacts.record(scored.meta["columns"]["noise"]).table("scores")[0]
    path = scored_shop.files.locate(noise.path)
    whole = path.read_bytes()
    end_of_pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    path.write_bytes(whole[:4] + b"\xff" * (end_of_pages - 4) + whole[end_of_pages:])
    assert scored_shop.ask("SELECT sum(el2n) FROM scored.toy").item() == pytest.approx(0.6)
    with pytest.raises(CorruptError, match=r"a file behind the query cannot be read: .*; `tamis fsck` says what to do"):
        scored_shop.ask("SELECT sum(noise) FROM scored.toy")


def test_a_query_nested_too_deeply_is_refused(shop: Shop) -> None:
    for sql in ("SELECT " + "(" * 3000 + "1" + ")" * 3000, "SELECT " + "1 + " * 900 + "1"):
        with pytest.raises(QueryError, match="nested too deeply; split it with WITH"):
            shop.ask(sql)


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("EXPLAIN SELECT 1", "EXPLAIN is not available; leave the word out, and read fewer columns"),
        ("-- why so slow?\nEXPLAIN ANALYZE SELECT 1", "EXPLAIN is not available"),
        ("PRAGMA table_info('toy')", "PRAGMA is not available: .*; DESCRIBE scored.digits lists a table's columns"),
        ("SET threads = 2", "a query changes no setting; .* set with --memory, --threads and --timeout"),
        ("SHOW scored", "SHOW is not available; SELECT kind, version FROM catalog.versions lists what there is"),
        ("SELECT lable FROM scored.toy", 'column "lable" not found in FROM clause! Candidate bindings: .*"label"'),
        (
            "SELECT t.lable FROM scored.toy t",
            "t has no column 'lable'; the .* in this query have \"label\"",
        ),
        ("SELECT t.zzz FROM dataset.toy t", 't has no column \'zzz\'; .* have "example_id", "split", "pixels"'),
        ("SELECT sum(label) FROM scored.toy", r"types 'sum\(VARCHAR\)'. You might need to add explicit type casts.$"),
        ('SELECT * FROM dataset."tôy"', r"there is no dataset.tôy; did you mean dataset.toy\? the store has"),
        ('SELECT * FROM dataset."../toy"', r"there is no dataset.../toy; did you mean dataset.toy\? "),
        ("SELECT * FROM catalog.version", r"there is no catalog.version; did you mean catalog.versions\? "),
        ("SELECT * FROM toy", r"there is no table 'toy'; did you mean dataset.toy\? "),
    ],
)
def test_a_mistake_is_answered_with_what_to_write_instead(scored_shop: Shop, sql: str, sentence: str) -> None:
    with pytest.raises((QueryError, NotFoundError), match=sentence):
        scored_shop.ask(sql)


def test_of_many_names_those_like_the_wanted_one_are_told(shop: Shop) -> None:
    dataset = write_dataset(shop.artifacts, shop.versions)
    for number in range(30):
        shop.versions.publish("dataset", f"other-{number}", dataset)
    with pytest.raises(NotFoundError, match=r"the store has (\w+\.toy, ){2}.* and 47 more, which catalog"):
        shop.ask("SELECT * FROM toys")
