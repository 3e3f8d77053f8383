import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import polars as pl
import pytest

from storage.artifacts import Request
from storage.catalog_file import PLACE
from storage.store import Store
from storage.views import View
from tests.storage.houses import DATASET, ROWS, SCHEMA, toy_selection, toy_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = toy_store(tmp_path / "a 'store'")
    toy_selection(made, [1, 0, 1, 1])
    toy_selection(made, [1, 1, 0.5, 1], labels=[0, 1, 1, 1])
    return made


def ask(path: Path, sql: str) -> list[tuple]:
    """Ask in a process of its own, as another program would."""
    code = (
        "import duckdb, sys\n"
        "with duckdb.connect(sys.argv[1], read_only=True) as connection:\n"
        "    print(connection.execute(sys.argv[2]).fetchall())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), sql], capture_output=True, text=True, check=True)
    answer: list[tuple] = eval(done.stdout)
    return answer


def test_other_programs_read_every_name_and_version(store):
    assert store.publish_catalog() == 7
    path = store.root / PLACE
    sql = (
        'SELECT (SELECT count(*) FROM dataset.toys), (SELECT sum(weight) FROM subset."toys-clean@1"), '
        '(SELECT sum(weight) FROM subset."toys-clean"), '
        '(SELECT new_label FROM subset."toys-clean@2" WHERE relabelled), '
        "(SELECT count(*) FROM quarantine.toys), (SELECT count(*) FROM catalog.versions), "
        "(SELECT count(*) FROM catalog.left_out)"
    )
    assert ask(path, sql) == [(5, 3.0, 3.5, "dog", 0, 3, 0)]


def test_the_catalogue_gives_what_tamis_sql_gives(store):
    store.publish_catalog()
    with duckdb.connect(str(store.root / PLACE), read_only=True) as connection:
        for sql in (
            "SELECT * FROM dataset.toys ORDER BY example_id",
            'SELECT * FROM subset."toys-clean" ORDER BY example_id',
            "SELECT * EXCLUDE (created_at) FROM catalog.versions",
            "SELECT * FROM catalog.lineage ORDER BY ALL",
        ):
            assert connection.sql(sql).pl().equals(store.sql(sql))


def test_a_fresh_catalogue_does_not_disturb_who_has_the_old_one_open(store):
    store.publish_catalog()
    path = store.root / PLACE
    code = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1], read_only=True)\n"
        "sql = 'SELECT count(*), (SELECT count(*) FROM subset.\"toys-clean\" WHERE weight > 0) FROM catalog.versions'\n"
        "for _ in range(2):\n"
        "    print(connection.execute(sql).fetchall(), flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout.readline() == "[(3, 4)]\n"
        toy_selection(store, [0, 0, 0, 1])
        store.publish_catalog()
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "[(3, 4)]\n"
        reader.stdin.write("\n")
        reader.stdin.close()
        assert reader.wait() == 0
    assert ask(path, "SELECT count(*) FROM catalog.versions") == [(4,)]


def test_nothing_is_left_beside_the_catalogue(store):
    store.publish_catalog()
    assert [path.name for path in (store.root / "published").iterdir()] == ["catalog.duckdb"]


def test_a_failure_keeps_the_old_catalogue_and_leaves_nothing(store, monkeypatch):
    store.publish_catalog()
    before = (store.root / PLACE).read_bytes()
    monkeypatch.setattr("storage.catalog_file.catalog.TABLES", {"versions": lambda *_: 1 / 0})
    with pytest.raises(ZeroDivisionError):
        store.publish_catalog()
    assert (store.root / PLACE).read_bytes() == before
    assert [path.name for path in (store.root / "published").iterdir()] == ["catalog.duckdb"]


def test_publishers_at_the_same_time_each_leave_a_whole_file(store):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: store.publish_catalog(), range(8))) == [7] * 8
    assert ask(store.root / PLACE, "SELECT count(*) FROM dataset.toys") == [(5,)]
    assert [path.name for path in (store.root / "published").iterdir()] == ["catalog.duckdb"]


def test_what_cannot_be_a_view_is_listed_with_the_reason_and_the_rest_is_there(store):
    store.publish("dataset", "Toys", DATASET.id)
    paths = {}
    for name in ("torn", "gone"):
        request = Request(kind="dataset", settings={"name": name})
        with store.write(request) as draft:
            draft.add_table("examples", ROWS)
            draft.meta.update({"schema": SCHEMA.to_json(), "counts": {"by_split": {}}})
        store.publish("dataset", name, request.id)
        paths[name] = store.root / store.record(request.id).files[0].path
    paths["torn"].write_bytes(b"PAR1 no longer PAR1")
    paths["gone"].unlink()
    store.publish_catalog()
    path = store.root / PLACE
    left_out = dict(ask(path, "SELECT name, reason FROM catalog.left_out WHERE schema = 'dataset'"))
    assert set(left_out) == {"toys", "toys@1", "gone", "gone@1", "torn", "torn@1"}
    assert left_out["toys"] == "SQL cannot tell it from 'Toys'"
    assert "lacks its file" in left_out["gone"]
    assert "cannot be read" in left_out["torn"]
    assert ask(path, 'SELECT count(*) FROM subset."toys-clean"') == [(4,)]
    assert ask(path, "SELECT count(*) FROM dataset.Toys") == [(5,)]


def test_the_file_is_of_the_format_of_duckdb_1_4(store):
    store.publish_catalog()
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{str(store.root / PLACE).replace(chr(39), chr(39) * 2)}' AS c (READ_ONLY)")
        (tags,) = connection.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'c'").fetchone()
    assert tags["storage_version"].startswith("v1.4.0")


def test_a_view_that_duckdb_refuses_costs_only_itself(store, monkeypatch):
    wide = View.sql
    monkeypatch.setattr(
        View,
        "sql",
        lambda self, wanted: "CREATE VIEW x AS SELECT y" if self.name == "toys-clean" else wide(self, wanted),
    )
    assert store.publish_catalog() == 6
    assert ask(store.root / PLACE, "SELECT name FROM catalog.left_out") == [("toys-clean",)]
    assert ask(store.root / PLACE, 'SELECT sum(weight) FROM subset."toys-clean@2"') == [(3.5,)]


def test_an_empty_store_has_an_empty_catalogue(tmp_path):
    store = Store.create(tmp_path)
    assert store.publish_catalog() == 0
    assert ask(store.root / PLACE, "SELECT count(*) FROM catalog.artifacts") == [(0,)]


def test_a_finished_store_with_scores_is_wide_there_too(tmp_path):
    store = toy_store(tmp_path)
    scores = Request(kind="scores", settings={}, inputs={"dataset": DATASET.id})
    frame = pl.DataFrame({"example_id": ["toys:0"], "value": [0.5], "standard_error": [0.1]})
    with store.write(scores) as draft:
        draft.add_table("scores", frame)
        draft.meta.update({"high_means": "hard", "has_standard_error": True, "columns": []})
    scored = Request(kind="scored", settings={"columns": {"aum": scores.id}}, inputs={"dataset": DATASET.id})
    with store.write(scored) as draft:
        draft.meta.update({"dataset": DATASET.id, "columns": {"aum": scores.id}})
    store.publish("scored", "toys", scored.id)
    store.publish_catalog()
    sql = 'SELECT aum, aum_se FROM scored."toys@1" ORDER BY example_id LIMIT 2'
    assert ask(store.root / PLACE, sql) == [(0.5, 0.1), (None, None)]
