"""The published catalogue: one DuckDB file with a view for every name and version, for tools that open files.

It holds no examples: views read the store's Parquet files by absolute path, and the tables of `catalog` are small.
A fresh file is written aside and takes the place of the old one in one step, so a reader that has the old one
open is not disturbed, and nobody ever holds a file that is being written.
"""

from collections.abc import Iterator

import duckdb
import polars as pl

from storage import catalog
from storage.artifacts import Artifacts
from storage.errors import TamisError
from storage.files import Files
from storage.query import sandbox
from storage.versions import Versions
from storage.views import SCHEMAS, Views, empty_quarantine, quoted_name, quoted_text

PLACE = "published/catalog.duckdb"
"""Where the catalogue is, relative to the store's root."""

STORAGE_VERSION = "v1.4.0"
"""The oldest DuckDB that can read the file."""

_LEFT_OUT = {"schema": pl.String, "name": pl.String, "reason": pl.String}


def publish_catalog(files: Files, artifacts: Artifacts, versions: Versions) -> int:
    """Write the catalogue anew and put it in place of the old one.

    It has a view for each tag, each name (its newest version) and each version (`scored."fashion@3"`), and the
    tables of `catalog`. These stand in the main schema: the file's own name makes `catalog.versions` mean the
    table `versions` in it, and a schema named like the file would be ambiguous. What cannot be made into a view
    (a damaged file, two names that differ in case alone) stands in `catalog.left_out` with the reason.

    Returns:
        The number of views.
    """
    private = files.private("published")
    try:
        path = f"{private}/catalog.duckdb"
        files.passing("native write", path)
        made = _write(str(files.locate(path)), Views(files, artifacts, versions), artifacts, versions)
        files.replace(PLACE, files.read(path))
    finally:
        files.remove(private)
        files.release(private)
    return made


def _write(path: str, views: Views, artifacts: Artifacts, versions: Versions) -> int:
    """Fill a new database file; the number of views in it."""
    with sandbox() as connection:
        connection.execute(f"ATTACH {quoted_text(path)} AS published (STORAGE_VERSION {quoted_text(STORAGE_VERSION)})")
        connection.execute("USE published")
        for schema in SCHEMAS:
            connection.execute(f"CREATE SCHEMA {schema}")
        left_out: list[tuple[str, str, str]] = []
        made = 0
        taken: dict[tuple[str, str], str] = {}
        for schema, name in _names(versions):
            other = taken.setdefault((schema, name.casefold()), name)
            reason = f"SQL cannot tell it from {other!r}" if other != name else _create(connection, views, schema, name)
            if reason is None:
                made += 1
            else:
                left_out.append((schema, name, reason))
        for table, rows in catalog.TABLES.items():
            _create_table(connection, table, rows(artifacts, versions))
        _create_table(connection, "left_out", pl.DataFrame(left_out, _LEFT_OUT, orient="row"))
        connection.execute("USE memory")
        connection.execute("DETACH published")
    return made


def _names(versions: Versions) -> Iterator[tuple[str, str]]:
    """Schema and name of every view: tags, then each name and each of its versions."""
    for schema in SCHEMAS:
        kind = "dataset" if schema == "quarantine" else schema
        for tag in versions.tags.names(kind):
            yield schema, tag
        for name in versions.names(kind):
            yield schema, name
            for number in range(1, versions.newest(kind, name) + 1):
                yield schema, f"{name}@{number}"


def _create(connection: duckdb.DuckDBPyConnection, views: Views, schema: str, name: str) -> str | None:
    """Make one view; why it could not be made, or None."""
    try:
        view = views.find(schema, name)
        if view is not None:
            connection.execute(view.sql(None))
        else:
            connection.execute(empty_quarantine(name))
    except (TamisError, duckdb.Error) as error:
        return str(error).partition("\n")[0]
    return None


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    connection.register("catalog_rows", rows)
    connection.execute(f"CREATE TABLE main.{quoted_name(name)} AS FROM catalog_rows")
    connection.unregister("catalog_rows")
