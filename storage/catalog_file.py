"""The published catalogue: one DuckDB file with a view for every name and version, for tools that open files.

It holds no examples: views read the store's Parquet files by absolute path, and the tables of `catalog` are small.
A fresh file is written aside and takes the place of the old one in one step, so a reader that has the old one
open is not disturbed, and nobody ever holds a file that is being written.
"""

from collections.abc import Iterator, Mapping

import duckdb
import polars as pl

from storage import catalog
from storage.artifacts import Artifacts
from storage.errors import TamisError
from storage.files import Files, native_write
from storage.query import sandbox
from storage.remembered import RememberedArtifacts
from storage.roots import is_url
from storage.versions import Versions
from storage.views import SCHEMAS, Views, empty_quarantine, quoted_name, quoted_text

PLACE = "published/catalog.duckdb"
"""Where the catalogue is, relative to the store's root."""

STORAGE_VERSION = "v1.4.0"
"""The oldest DuckDB that can read the file."""

_VIEWS_PER_TRANSACTION = 100
_Name = tuple[str, str]
_LEFT_OUT = {"schema": pl.String, "name": pl.String, "reason": pl.String}


def publish_catalog(files: Files, artifacts: Artifacts, versions: Versions) -> int:
    """Write the catalogue anew and put it in place of the old one.

    It has a view for each tag, each name (its newest version) and each version (`scored."fashion@3"`), and the
    tables of `catalog`. These stand in the main schema: the file's own name makes `catalog.versions` mean the
    table `versions` in it, and a schema named like the file would be ambiguous. What cannot be made into a view
    (a damaged file, two names that differ in case alone) stands in `catalog.left_out` with the reason.

    An object store gets none: its views would name files of this machine.

    Returns:
        The number of views.
    """
    if is_url(files.location):
        return 0
    private = files.private("published")
    try:
        path = f"{private}/catalog.duckdb"
        with native_write(files, path, duckdb.Error) as place:
            made = _write(str(place), files, RememberedArtifacts(artifacts), versions)
        files.replace(PLACE, files.read(path))
    finally:
        files.remove(private)
        files.release(private)
    return made


def _write(path: str, files: Files, artifacts: RememberedArtifacts, versions: Versions) -> int:
    """Fill a new database file; the number of views in it."""
    made, left_out = _statements(Views(files, artifacts, versions), versions)
    with sandbox() as connection:
        connection.execute(f"ATTACH {quoted_text(path)} AS published (STORAGE_VERSION {quoted_text(STORAGE_VERSION)})")
        connection.execute("USE published")
        for schema in SCHEMAS:
            connection.execute(f"CREATE SCHEMA {schema}")
        names = list(made)
        refused: dict[_Name, str] = {}
        for start in range(0, len(names), _VIEWS_PER_TRANSACTION):
            refused |= _create(connection, {name: made[name] for name in names[start : start + _VIEWS_PER_TRANSACTION]})
        rows = [(*name, reason) for name, reason in (left_out | refused).items()]
        for table, make in catalog.TABLES.items():
            _create_table(connection, table, make(artifacts, versions))
        _create_table(connection, "left_out", pl.DataFrame(rows, _LEFT_OUT, orient="row"))
        connection.execute("USE memory")
        connection.execute("DETACH published")
    return len(made) - len(refused)


def _statements(views: Views, versions: Versions) -> tuple[dict[_Name, str], dict[_Name, str]]:
    """By schema and name: the statement that makes the view, or why there is none."""
    made: dict[_Name, str] = {}
    left_out: dict[_Name, str] = {}
    taken: dict[_Name, str] = {}
    for schema, name in _names(versions):
        other = taken.setdefault((schema, name.casefold()), name)
        if other != name:
            left_out[schema, name] = f"SQL cannot tell it from {other!r}"
            continue
        try:
            view = views.find(schema, name)
        except TamisError as error:
            left_out[schema, name] = str(error).partition("\n")[0]
        else:
            made[schema, name] = empty_quarantine(name) if view is None else view.sql(None)
    return made, left_out


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


def _create(connection: duckdb.DuckDBPyConnection, statements: Mapping[_Name, str]) -> dict[_Name, str]:
    """Make views; those that could not be made, with the reason.

    All go into one transaction, flushed once; DuckDB gives that up at the first error, and then each has its own.
    """
    try:
        connection.execute("BEGIN")
        for sql in statements.values():
            connection.execute(sql)
        connection.execute("COMMIT")
    except duckdb.Error:
        connection.execute("ROLLBACK")
    else:
        return {}
    refused = {}
    for name, sql in statements.items():
        try:
            connection.execute(sql)
        except duckdb.Error as error:
            refused[name] = str(error).partition("\n")[0]
    return refused


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    connection.register("catalog_rows", rows)
    connection.execute(f"CREATE TABLE main.{quoted_name(name)} AS FROM catalog_rows")
    connection.unregister("catalog_rows")
