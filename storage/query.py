"""Query: one SELECT over a store, run in an in-memory DuckDB that can read a few files and write none.

Every query gets its own database with views over the Parquet files of the names it uses, and
nothing else: no file is shared with writers, so readers never wait. Before the user's text
runs, DuckDB's access to files is cut down to those of the views and its settings are locked;
the text then stands inside `FROM query('...')`, which takes one SELECT and nothing else.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher, get_close_matches

import duckdb
import polars as pl
import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from storage import catalog, diff, why
from storage.artifacts import Artifacts
from storage.damage import printable
from storage.errors import CorruptError, NotFoundError, QueryError
from storage.files import NAME_PATTERN, Files
from storage.limits import Deadline, Limits, stopped_in_time
from storage.remembered import RememberedArtifacts
from storage.statement import OWN_FUNCTIONS, Statement, parse_statement
from storage.versions import Versions
from storage.views import SCHEMAS, View, Views, empty_quarantine, quoted_name, quoted_text

_ROWS_PER_FRAME = 122_880
_MOST_NAMES = 20
_ALIKE = 0.6
_UNSUPPORTED = ("bignum", "bit", "geometry", "interval", "time with time zone", "union", "variant")
_TABLES_ONLY = (
    "a query reads only the store's tables, not files or addresses (catalog.versions lists them); "
    "bring other data in with `tamis ingest`"
)


def query(
    files: Files, artifacts: Artifacts, versions: Versions, sql: str, limits: Limits | None = None
) -> pl.DataFrame:
    """The answer to one SELECT.

    Args:
        files: bytes of the store.
        artifacts: its artifacts.
        versions: its versions.
        sql: one SELECT over `dataset.<name>`, `scored.<name>`, `subset.<name>`, `quarantine.<name>`,
            `catalog.<table>`, `why('<example id>')` and `diff('<version>', '<version>')`; a fixed version of
            the others stands in double quotes: `scored."fashion@3"`.
        limits: memory, threads and time; None sets none.

    Raises:
        QueryError: it is not one SELECT, it is wrong, it tries to leave the sandbox, or it reached a limit.
        NotFoundError: it uses a name or version that does not exist; the message lists those that do.
        CorruptError: a file of the store is missing.
    """
    return pl.concat(stream(files, artifacts, versions, sql, limits), rechunk=False)


def stream(
    files: Files,
    artifacts: Artifacts,
    versions: Versions,
    sql: str,
    limits: Limits | None = None,
    *,
    rows_per_frame: int = _ROWS_PER_FRAME,
) -> Iterator[pl.DataFrame]:
    """The answer to one SELECT in parts, so that it need not fit in memory.

    Args:
        files: bytes of the store.
        artifacts: its artifacts.
        versions: its versions.
        sql: as for `query`.
        limits: as for `query`; the time counts until the last part, the caller's own work between parts included.
        rows_per_frame: most rows in one part, at least 1.

    Returns:
        One or more frames with the same columns; a single one without rows if the answer is empty.

    Raises:
        QueryError: as for `query`; a value that cannot be computed may show only in a later part.
        NotFoundError: as for `query`.
        CorruptError: as for `query`.
    """
    if rows_per_frame < 1:
        raise ValueError(f"rows_per_frame must be at least 1, got {rows_per_frame}")
    remembered = RememberedArtifacts(artifacts)
    views = Views(files, remembered, versions)
    limits = limits or Limits()
    deadline = Deadline(limits.timeout_seconds)
    with sandbox(limits) as connection, stopped_in_time(connection, deadline), clear_errors(limits, deadline):
        statement = parse_statement(connection, sql)
        found = _prepare(connection, statement, views, remembered, versions)
        _answer_calls(connection, statement, files, remembered, versions)
        seal(connection, [path for view in found for path in view.paths])
        deadline.check()
        answer = _bound(connection, statement, found)
        for frame in _frames(answer, rows_per_frame):
            yield frame
            deadline.check()


@contextmanager
def sandbox(limits: Limits | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new in-memory database, with a private place for what does not fit in memory; not sealed yet."""
    with tempfile.TemporaryDirectory(prefix="tamis-sql-") as private:
        connection = duckdb.connect(
            ":memory:",
            config={
                "temp_directory": private,
                "python_enable_replacements": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_persistent_secrets": False,
                **(limits or Limits()).settings(),
            },
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def seal(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """From here on the connection can open these files alone, and no setting can be changed."""
    allowed = ", ".join(quoted_text(path) for path in paths)
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def run_sealed(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """The user's text as the only thing inside `query('...')`, which takes one SELECT; bound, not yet run."""
    return connection.sql(f"FROM query({quoted_text(sql)})")


def _prepare(
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    views: Views,
    artifacts: RememberedArtifacts,
    versions: Versions,
) -> list[View]:
    """Make what the statement's qualified names stand for; the views that read files come back."""
    found: list[View] = []
    made: dict[tuple[str, str], str] = {}
    for path in statement.tables:
        schema, name = _checked_path(path, views)
        earlier = made.setdefault((schema, name.casefold()), name)
        if earlier != name:
            raise QueryError(
                f"{schema} has {earlier!r} and {name!r}, which one query cannot tell apart; use one of them"
            )
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted_name(schema)}")
        if schema == "catalog":
            connection.register("catalog_rows", catalog.TABLES[name.lower()](artifacts, versions))
            connection.execute(
                f"CREATE OR REPLACE TABLE {quoted_name(schema)}.{quoted_name(name)} AS FROM catalog_rows"
            )
            connection.unregister("catalog_rows")
            continue
        view = views.find(schema, name)
        try:
            connection.execute(empty_quarantine(name) if view is None else view.sql(statement.columns_of(path)))
        except duckdb.Error as error:
            raise CorruptError(f"{schema}.{name} cannot be read: {first_sentence(str(error))}") from error
        if view is not None:
            found.append(view)
    return found


def _answer_calls(
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    files: Files,
    artifacts: Artifacts,
    versions: Versions,
) -> None:
    """Make `why` and `diff` stand for their answers to the texts that the statement gives them, and to no others."""
    answers: dict[str, list[pl.DataFrame]] = {}
    for name, *texts in statement.calls:
        try:
            rows = (
                why.why(files, artifacts, versions, *texts)
                if name == "why"
                else diff.diff(files, artifacts, versions, *texts).rows
            )
        except ValueError as error:
            raise QueryError(str(error)) from None
        asked = [pl.lit(text).alias(f"asked {place}") for place, text in enumerate(texts)]
        answers.setdefault(name, []).append(rows.with_columns(asked))
    for name, frames in answers.items():
        places = [f"asked {place}" for place in range(OWN_FUNCTIONS[name])]
        connection.register("answer_rows", pl.concat(frames))
        connection.execute(f"CREATE TABLE main.{name}_rows AS FROM answer_rows")
        connection.unregister("answer_rows")
        parameters = [f"text_{place}" for place in range(len(places))]
        same = " AND ".join(f'"{place}" = {one}' for place, one in zip(places, parameters, strict=True))
        hidden = ", ".join(quoted_name(place) for place in places)
        connection.execute(
            f"CREATE MACRO {name}({', '.join(parameters)}) AS TABLE "
            f"SELECT * EXCLUDE ({hidden}) FROM main.{name}_rows WHERE {same}"
        )


def _checked_path(path: tuple[str, ...], views: Views) -> tuple[str, str]:
    """Schema and name of a qualified name, if it is of a schema that a store has."""
    if len(path) == 1:
        if re.search(r"[/.:\\]", path[0]):
            raise QueryError(_TABLES_ONLY)
        raise NotFoundError(f"there is no table {path[0]!r}; {_what_there_is(views, path[0])}")
    if len(path) > 2:
        written = f"{path[0]}.{quoted_name('.'.join(path[1:]))}"
        raise QueryError(f"{'.'.join(path)} has too many parts; a name with dots stands in double quotes: {written}")
    schema, name = path[0].lower(), path[1]
    if schema == "catalog" and name.lower() in catalog.TABLES:
        return schema, name
    if schema in SCHEMAS and _may_be_name(name.partition("@")[0]):
        return schema, name
    raise NotFoundError(f"there is no {schema}.{name}; {_what_there_is(views, name)}")


def _may_be_name(name: str) -> bool:
    return NAME_PATTERN.fullmatch(name) is not None and ".." not in name


def _what_there_is(views: Views, wanted: str) -> str:
    """Tables that a store has, those with a name like the wanted one first; not all where they are many."""
    names = [*views.known(), *(f"catalog.{name}" for name in catalog.TABLES)]
    alike = {name: SequenceMatcher(None, name.partition(".")[2].strip('"'), wanted).ratio() for name in names}
    if len(names) > _MOST_NAMES:
        first = ", ".join(sorted(names, key=alike.__getitem__, reverse=True)[:_MOST_NAMES])
        return f"the store has {first} and {len(names) - _MOST_NAMES} more, which catalog.versions lists"
    near = max(names, key=alike.__getitem__)
    meant = f"did you mean {near}? " if alike[near] > _ALIKE else ""
    return f"{meant}the store has {', '.join(names)}"


def _bound(
    connection: duckdb.DuckDBPyConnection, statement: Statement, found: Sequence[View]
) -> duckdb.DuckDBPyRelation:
    """The statement, bound to the views; where it does not fit, hints are about the views with all columns."""
    try:
        return run_sealed(connection, statement.sql)
    except duckdb.BinderException as error:
        if statement.columns is None:
            raise _with_columns(error, found) from None
        for view in found:
            connection.execute(view.sql(None))
        try:
            return run_sealed(connection, statement.sql)
        except duckdb.BinderException as second:
            raise _with_columns(second, found) from None


def _with_columns(error: duckdb.BinderException, found: Sequence[View]) -> Exception:
    """The error, with the columns nearest to one that DuckDB misses in a named table without a hint of its own."""
    missed = re.search(r'"([^"]+)" does not have a column named "([^"]+)"', str(error))
    if missed is None:
        return error
    names = list(dict.fromkeys(column.name for view in found for column in view.columns))
    near = get_close_matches(missed[2], names, 3, _ALIKE) or names
    listed = ", ".join(map(quoted_name, near[:_MOST_NAMES]))
    return QueryError(f"{missed[1]} has no column {missed[2]!r}; the store's tables in this query have {listed}")


def _frames(answer: duckdb.DuckDBPyRelation, rows_per_frame: int) -> Iterator[pl.DataFrame]:
    for name, kind in zip(answer.columns, answer.types, strict=True):
        if _is_unsupported(kind):
            raise QueryError(
                f"column {name!r} is of type {kind}, which has no place in a table of tamis; "
                f"write {quoted_name(name)}::VARCHAR, or epoch(...) of an interval"
            )
    reader = answer.to_arrow_reader(rows_per_frame)
    schema: pa.Schema = reader.schema
    empty = True
    for batch in reader:
        if batch.num_rows:
            empty = False
            yield _frame(pa.Table.from_batches([batch]))
    if empty:
        yield _frame(schema.empty_table())


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _is_unsupported(kind: DuckDBPyType) -> bool:
    if kind.id in _UNSUPPORTED:
        return True
    if kind.id not in ("list", "array", "struct", "map"):
        return False
    return any(isinstance(child, DuckDBPyType) and _is_unsupported(child) for _, child in kind.children)


@contextmanager
def clear_errors(limits: Limits, deadline: Deadline) -> Iterator[None]:
    """DuckDB's errors as one sentence each."""
    try:
        yield
    except duckdb.PermissionException:
        raise QueryError(_TABLES_ONLY) from None
    except duckdb.OutOfMemoryException:
        allowed = "its memory" if limits.memory_bytes is None else f"the {limits.memory_bytes / 1e6:g} MB of memory"
        raise QueryError(
            f"the query needs more than {allowed} it may use; allow it more (--memory), or let it read fewer "
            "columns, group by fewer values, or order fewer rows"
        ) from None
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if deadline.passed:
            raise deadline.error() from None
        if _is_damage(error):
            told = printable(first_sentence(str(error)))
            raise CorruptError(
                f"a file behind the query cannot be read: {told}; `tamis fsck` says what to do"
            ) from None
        raise QueryError(first_sentence(str(error))) from None


def _is_damage(error: Exception) -> bool:
    """Whether DuckDB met broken bytes: its reader of Parquet passes the errors of its parser on without a kind."""
    return type(error) is duckdb.Error or (
        isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and ".parquet" in str(error)
    )


def first_sentence(message: str) -> str:
    """What DuckDB says is wrong, with its suggestions, without the kind of error and the place in the text."""
    told = re.split(r"\n\s*\n|\nLINE |\s+Candidate functions:", message, maxsplit=1)[0]
    told = re.sub(r"^([A-Z][A-Za-z-]* )*Error: ", "", told)
    return " ".join(told.split())
