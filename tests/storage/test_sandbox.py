import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.artifacts import Artifacts, Request
from storage.errors import NotFoundError, QueryError, TamisError
from storage.files import Files
from storage.query import query, run_sealed, sandbox, seal
from storage.versions import Versions

SECRET = "a line that no query may show"


class World:
    """A store with one data set, and files beside it that no query may touch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = Files(root / "store")
        self.artifacts = Artifacts(self.files)
        versions = Versions(self.files)
        self.versions = versions
        request = Request(kind="dataset", settings={})
        with self.artifacts.write(request) as draft:
            draft.add_table("examples", pl.DataFrame({"example_id": ["toy:0"], "split": ["train"], "label": ["cat"]}))
            draft.meta["schema"] = {
                "features": [],
                "classes": ["cat"],
                "groups": [],
                "has_clean_label": False,
                "metadata": [],
            }
        versions.publish("dataset", "toy", request.id)
        self.parquet = self.files.locate(self.artifacts.record(request.id).table("examples")[0].path)
        self.secret = root / "secret.csv"
        self.secret.write_text(f"{SECRET}\n{SECRET}\n")
        pl.DataFrame({"x": [SECRET]}).write_parquet(root / "secret.parquet")
        (self.parquet.parent / "link.parquet").symlink_to(root / "secret.parquet")

    def ask(self, sql: str) -> pl.DataFrame:
        return query(self.files, self.artifacts, self.versions, sql)

    def hashes(self) -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
            for path in self.root.rglob("*")
        }

    def fill(self, sql: str) -> str:
        return (
            sql.replace("{secret}", str(self.secret))
            .replace("{parquet}", str(self.parquet))
            .replace("{folder}", str(self.parquet.parent))
            .replace("{root}", str(self.root))
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    made = World(tmp_path)
    before = made.hashes()
    yield made
    assert made.hashes() == before


WRITES = {
    "copy": "COPY dataset.toy TO '{root}/out.csv'",
    "copy over an artifact": "COPY (SELECT 1) TO '{parquet}'",
    "copy inside with": "WITH x AS (COPY (SELECT 1) TO '{root}/out.csv') SELECT * FROM x",
    "copy over an artifact inside with": "WITH x AS (COPY (SELECT 1 AS a) TO '{parquet}') SELECT * FROM dataset.toy",
    "copy inside a nested with": "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{root}/out.csv') SELECT * FROM x)",
    "copy in a subquery": "SELECT (WITH x AS (COPY (SELECT 1) TO '{root}/out.csv') SELECT count(*) FROM x)",
    "explain analyze copy": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/out.csv'",
    "explain": "EXPLAIN SELECT 1",
    "copy from": "COPY x FROM '{secret}'",
    "copy database": "COPY FROM DATABASE memory TO other",
    "export database": "EXPORT DATABASE '{root}/export'",
    "import database": "IMPORT DATABASE '{root}'",
    "attach": "ATTACH '{root}/new.db'",
    "attach an artifact": "ATTACH '{parquet}' AS x",
    "detach": "DETACH memory",
    "use": "USE memory",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "load a file": "LOAD '{root}/x.duckdb_extension'",
    "set": "SET threads = 1",
    "set the lock": "SET lock_configuration = false",
    "reset": "RESET enable_external_access",
    "set a variable": "SET VARIABLE x = 1",
    "pragma": "PRAGMA database_list",
    "pragma with a value": "PRAGMA enable_profiling = 'json'",
    "call": "CALL pragma_version()",
    "create a table": "CREATE TABLE x AS SELECT 1",
    "create a view": "CREATE VIEW dataset.x AS SELECT 1",
    "create a macro": "CREATE MACRO f() AS TABLE SELECT * FROM read_text('{secret}')",
    "create a secret": "CREATE PERSISTENT SECRET s (TYPE http)",
    "drop": "DROP VIEW dataset.toy",
    "alter": "ALTER TABLE dataset.toy RENAME TO x",
    "insert": "INSERT INTO catalog.versions VALUES (1)",
    "insert inside with": "WITH x AS (INSERT INTO catalog.versions VALUES (1) RETURNING *) SELECT * FROM x",
    "update": "UPDATE catalog.versions SET kind = 'x'",
    "delete": "DELETE FROM catalog.versions",
    "delete inside with": "WITH x AS (DELETE FROM catalog.versions RETURNING *) SELECT * FROM x",
    "merge": "MERGE INTO catalog.versions USING dataset.toy ON true WHEN MATCHED THEN DELETE",
    "transaction": "BEGIN",
    "checkpoint": "CHECKPOINT",
    "vacuum": "VACUUM",
    "prepare": "PREPARE x AS SELECT 1",
    "execute": "EXECUTE x",
    "two statements": "SELECT 1; SELECT 2",
    "a write after a select": "SELECT 1; COPY (SELECT 1) TO '{root}/out.csv'",
    "a write behind a comment": "SELECT 1 --\n; COPY (SELECT 1) TO '{root}/out.csv'",
    "a quote that ends the wrapper": "SELECT 1'); COPY (SELECT 1) TO '{root}/out.csv'; --",
    "a doubled quote": "SELECT ''''); COPY (SELECT 1) TO '{root}/out.csv'; SELECT ('",
    "a backslash before a quote": "SELECT \\'); COPY (SELECT 1) TO '{root}/out.csv'; --",
    "dollar quotes": "SELECT $$a$$); COPY (SELECT 1) TO '{root}/out.csv'; --",
    "a null character": "SELECT 1\0; COPY (SELECT 1) TO '{root}/out.csv'",
    "an open comment": "SELECT 1 /* ",
    "a parameter": "SELECT ?",
    "a numbered parameter": "SELECT $1",
    "pivot without values": "PIVOT dataset.toy ON label",
    "nothing": "",
    "only a comment": "-- SELECT 1",
    "only a semicolon": ";",
    "text that is no text": "SELECT '\ud800'",
}

READS = {
    "read_csv": "SELECT * FROM read_csv('{secret}')",
    "read_csv of the system": "SELECT * FROM read_csv('/etc/passwd')",
    "read_csv_auto": "SELECT * FROM read_csv_auto('{secret}')",
    "schema-qualified read_csv": "SELECT * FROM main.read_csv('{secret}')",
    "quoted read_csv": "SELECT * FROM \"READ_CSV\"('{secret}')",
    "read_text": "SELECT * FROM read_text('{secret}')",
    "read_blob": "SELECT * FROM read_blob('{secret}')",
    "read_json": "SELECT * FROM read_json('{secret}')",
    "read_duckdb": "SELECT * FROM read_duckdb('{root}/x.db')",
    "sniff_csv": "SELECT * FROM sniff_csv('{secret}')",
    "glob": "SELECT * FROM glob('/*')",
    "glob of the store": "SELECT * FROM glob('{folder}/*')",
    "read_parquet": "SELECT * FROM read_parquet('{root}/secret.parquet')",
    "parquet_scan": "SELECT * FROM parquet_scan('{root}/secret.parquet')",
    "parquet_metadata": "SELECT * FROM parquet_metadata('{root}/secret.parquet')",
    "parquet_kv_metadata": "SELECT * FROM parquet_kv_metadata('{root}/secret.parquet')",
    "a path with dots": "SELECT * FROM read_parquet('{folder}/../../../../secret.parquet')",
    "a symbolic link": "SELECT * FROM read_parquet('{folder}/link.parquet')",
    "several paths": "SELECT * FROM read_parquet(['{parquet}', '{root}/secret.parquet'])",
    "a lateral read": "SELECT * FROM dataset.toy, LATERAL (SELECT * FROM read_text('{secret}'))",
    "a read in a subquery": "SELECT (SELECT content FROM read_text('{secret}'))",
    "a read in with": "WITH x AS MATERIALIZED (FROM read_text('{secret}')) FROM x",
    "a read in a condition": "SELECT 1 WHERE EXISTS (FROM read_text('{secret}'))",
    "a read in values": "VALUES ((SELECT content FROM read_text('{secret}')))",
    "a read in a union": "SELECT 'a' AS content UNION ALL SELECT content FROM read_text('{secret}')",
    "a read in describe": "DESCRIBE SELECT * FROM read_csv('{secret}')",
    "a read in summarize": "SUMMARIZE SELECT * FROM read_csv('{secret}')",
    "a path as a table": "SELECT * FROM '/etc/passwd'",
    "a csv path as a table": "SELECT * FROM '{secret}'",
    "a parquet path as a table": "SELECT * FROM '{root}/secret.parquet'",
    "a relative path as a table": "SELECT * FROM 'secret.csv'",
    "a path as a described table": "DESCRIBE '{secret}'",
    "a nested query": "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "a nested copy": "SELECT * FROM query('COPY (SELECT 1) TO ''{root}/out.csv''')",
    "query_table": "SELECT * FROM query_table('{secret}')",
    "query_table of several": "SELECT * FROM query_table(['{root}/secret.parquet'])",
    "serialized sql": "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "http": "SELECT * FROM read_csv('https://example.invalid/x.csv')",
    "an address as a table": "SELECT * FROM 'https://example.invalid/x.parquet'",
    "object storage": "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "an object as a table": "SELECT * FROM 's3://bucket/x.parquet'",
    "logging to a file": "SELECT * FROM enable_logging(storage := 'file', storage_path := '{root}/logs')",
    "profiling to a file": "SELECT * FROM enable_profiling(save_location := '{root}/profile.json')",
    "a checkpoint": "SELECT * FROM checkpoint()",
    "the environment": "SELECT getenv('HOME')",
    "arrow memory": "SELECT * FROM arrow_scan(1, 2, 3)",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "internals": "SELECT * FROM duckdb_views",
    "more internals": "SELECT * FROM information_schema.tables",
    "show tables": "SHOW TABLES",
    "show databases": "SHOW DATABASES",
    "a variable of the caller": "SELECT * FROM frame_of_the_caller",
}


@pytest.mark.parametrize("sql", WRITES.values(), ids=WRITES.keys())
def test_what_is_not_one_select_is_refused_in_one_sentence(world: World, sql: str) -> None:
    with pytest.raises(QueryError) as caught:
        world.ask(world.fill(sql))
    assert_one_clear_sentence(caught.value)


@pytest.mark.parametrize("sql", READS.values(), ids=READS.keys())
def test_what_lies_outside_the_tables_is_out_of_reach(world: World, sql: str) -> None:
    frame_of_the_caller = pl.DataFrame({"x": [SECRET]})
    with pytest.raises((QueryError, NotFoundError)) as caught:
        world.ask(world.fill(sql))
    assert_one_clear_sentence(caught.value)
    assert len(frame_of_the_caller) == 1


REMEDIES = {
    "copy": "exactly one SELECT; it cannot write files.*--output FILE",
    "copy inside with": "exactly one SELECT; it cannot write files.*--output FILE",
    "two statements": "exactly one SELECT, and this text has 2; run them one by one",
    "nothing": "empty; write one SELECT, such as",
    "a parameter": "no parameters; write the values into it",
    "pivot without values": "lists its values: PIVOT",
    "read_csv": "'read_csv' is not available.*catalog.versions.*tamis ingest",
    "a csv path as a table": "not files or addresses.*tamis ingest",
    "a path as a table": "not files or addresses.*tamis ingest",
    "an object as a table": "not files or addresses.*tamis ingest",
    "show tables": "FROM catalog.versions lists what there is",
    "query_table": "'query_table' is not available",
    "the environment": "getenv does not exist",
    "a variable of the caller": "no table 'frame_of_the_caller'; the store has dataset.toy",
}


@pytest.mark.parametrize(("title", "remedy"), REMEDIES.items(), ids=REMEDIES.keys())
def test_a_refusal_names_the_remedy(world: World, title: str, remedy: str) -> None:
    with pytest.raises(TamisError, match=remedy):
        world.ask(world.fill((WRITES | READS)[title]))


LOCKED_OUT = {
    title: sql
    for title, sql in (WRITES | READS).items()
    if title
    not in (
        "a numbered parameter",
        "a parameter",
        "a checkpoint",
        "serialized sql",
        "secrets",
        "internals",
        "more internals",
        "show tables",
        "show databases",
        "text that is no text",
    )
}
"""All of the above that would do harm or be wrong if it ran; the others are refused for their own sake."""


@pytest.mark.parametrize("sql", LOCKED_OUT.values(), ids=LOCKED_OUT.keys())
def test_the_lock_holds_without_the_parser_before_it(world: World, sql: str) -> None:
    frame_of_the_caller = pl.DataFrame({"x": [SECRET]})
    with sandbox() as connection:
        connection.execute("CREATE SCHEMA dataset")
        connection.execute(f"CREATE VIEW dataset.toy AS FROM read_parquet('{world.parquet}')")
        connection.execute("CREATE SCHEMA catalog")
        connection.execute("CREATE TABLE catalog.versions AS SELECT 'dataset' AS kind")
        seal(connection, [str(world.parquet)])
        with pytest.raises(duckdb.Error):
            run_sealed(connection, world.fill(sql)).fetchall()
        assert connection.sql("SELECT kind FROM catalog.versions").fetchall() == [("dataset",)]
    assert len(frame_of_the_caller) == 1


def test_a_sealed_connection_cannot_be_opened_again(world: World) -> None:
    with sandbox() as connection:
        seal(connection, [])
        for setting in ("lock_configuration = false", "enable_external_access = true", "allowed_paths = ['/']"):
            with pytest.raises(duckdb.Error, match="has been locked"):
                connection.execute(f"SET {setting}")


def test_a_file_of_the_store_is_read_by_its_table_and_not_by_its_path(world: World) -> None:
    for table in ("'{parquet}'", "read_parquet('{parquet}')", "dataset.toy, '{parquet}'"):
        with pytest.raises(QueryError, match=r"reads only the store's tables.*catalog\.versions"):
            world.ask(world.fill(f"SELECT * FROM {table}"))
    assert len(world.ask("SELECT * FROM dataset.toy")) == 1


def test_a_query_without_tables_opens_no_file(world: World) -> None:
    with sandbox() as connection:
        seal(connection, [])
        with pytest.raises(duckdb.PermissionException):
            run_sealed(connection, f"SELECT * FROM read_parquet('{world.parquet}')").fetchall()


def test_a_link_beside_an_allowed_file_is_not_followed(world: World) -> None:
    with sandbox() as connection:
        seal(connection, [str(world.parquet)])
        with pytest.raises(duckdb.PermissionException):
            run_sealed(connection, f"FROM read_parquet('{world.parquet.parent}/link.parquet')").fetchall()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'COPY x TO ''y''; DROP TABLE z' AS text",
        "SELECT ') -- ' AS text",
        "SELECT $$it's$$ AS text",
        "SELECT 'read_csv(''/etc/passwd'')' AS text -- COPY",
        "/* COPY */ SELECT ';' AS text;",
        "SELECT\u00a0'a' AS text;;",
    ],
)
def test_harmless_text_that_looks_dangerous_runs(world: World, sql: str) -> None:
    assert world.ask(sql).columns == ["text"]


PIECES = st.sampled_from(
    ["'", "''", '"', ";", "--", "/*", "*/", "(", ")", "\\", "$$", "\0", "\n", " ", "E'", "x", "SELECT 1", "COPY"]
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(PIECES, max_size=4), after=st.lists(PIECES, max_size=4))
def test_no_mix_of_quotes_and_comments_gets_a_write_out_of_the_wrapper(
    world: World, before: list[str], after: list[str]
) -> None:
    sql = f"SELECT 1 {''.join(before)} COPY (SELECT 1) TO '{world.root}/out.csv' {''.join(after)}"
    with sandbox() as connection:
        seal(connection, [])
        with suppress(duckdb.Error):
            run_sealed(connection, sql).fetchall()
    assert not (world.root / "out.csv").exists()


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_any_text_in_quotes_comes_back_as_it_is(world: World, text: str) -> None:
    doubled = text.replace("'", "''")
    assert world.ask(f"SELECT '{doubled}' AS text").item() == text


def test_no_query_leaves_anything_behind(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = []
    real = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *given, **named: made.append(real(*given, **named)) or made[-1])
    world.ask("SELECT * FROM dataset.toy")
    with pytest.raises(QueryError):
        world.ask("SELECT nothing FROM dataset.toy")
    assert made
    assert not any(Path(one).exists() for one in made)
    assert not list(tmp_path.glob("tamis-sql-*"))


def test_importing_storage_does_not_load_duckdb() -> None:
    code = "import sys, storage, storage.store; sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def assert_one_clear_sentence(error: TamisError) -> None:
    message = str(error)
    assert message
    assert "\n" not in message
    assert "Traceback" not in message
    assert SECRET not in message
    assert "LINE 1" not in message
