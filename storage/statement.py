"""Statement: what a user's SQL refers to, found by parsing it; nothing is bound, read or run.

This is the first of two walls around user SQL: it gives the clear messages. The second,
in `query.py`, is DuckDB's own lock, and holds even where this one is mistaken.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from storage.errors import QueryError

TABLE_FUNCTIONS = ("duckdb_functions", "generate_series", "json_each", "json_tree", "range", "unnest")
"""Functions that may stand in FROM: those that make rows from values and open nothing."""

OWN_FUNCTIONS = {"why": 1, "diff": 2}
"""tamis' own functions in FROM and how many texts they take; they are answered before the query runs."""

_READING_NODES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
_WHOLE_ROWS = ("STAR", "PIVOT", "SHOW_REF", "POSITIONAL_REFERENCE")
_IN_FROM = ("BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST")
_TOO_DEEP = "the query is nested too deeply; split it with WITH"
_OWN_PATHS = [(name,) for name in OWN_FUNCTIONS]
_USAGE = {
    "why": "why takes one example's id, written out in single quotes: why('digits:17')",
    "diff": "diff takes two versions, written out in single quotes: diff('digits-clean@1', 'digits-clean@2')",
}
_ONE_SELECT = (
    "a query is exactly one SELECT; it cannot write files, change settings, or load or attach anything "
    "(`tamis sql --output FILE` keeps the answer in a file)"
)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One SELECT, and what it refers to."""

    sql: str
    tables: tuple[tuple[str, ...], ...]
    """Names of tables that its own WITH does not make, each as its parts, without repeats."""
    calls: tuple[tuple[str, ...], ...]
    """Calls of `OWN_FUNCTIONS`, each as its name and its texts, without repeats."""
    columns: frozenset[str] | None
    """Case-folded words among which is every column that the SELECT reads; None if it may read all."""


def parse_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> Statement:
    """What the SQL refers to.

    Raises:
        QueryError: it is not exactly one SELECT, or calls a table function that could open a file.
    """
    tree = _tree(connection, sql)
    nodes = list(_nodes(tree))
    for node in nodes:
        _check_node(node)
    local = {str(one["key"]).casefold() for node in nodes for one in node.get("cte_map", {}).get("map", [])}
    paths = [_path(node) for node in nodes if node.get("type") == "BASE_TABLE"]
    tables = dict.fromkeys(path for path in paths if len(path) > 1 or path[0].casefold() not in local)
    calls = dict.fromkeys(_call(node["function"]) for node in nodes if _is_own_call(node))
    return Statement(sql=sql, tables=tuple(tables), calls=tuple(calls), columns=_columns_read(nodes))


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """The syntax tree of the only statement in the text, as DuckDB describes it in JSON."""
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"the query is not valid text at character {error.start + 1}; retype it there") from None
    rows = connection.execute("SELECT json_serialize_sql(?, skip_null := true, skip_empty := true)", [sql]).fetchall()
    try:
        parsed: dict[str, Any] = json.loads(rows[0][0])
    except RecursionError:
        raise QueryError(_TOO_DEEP) from None
    if parsed["error"]:
        raise QueryError(_parse_error(parsed, sql))
    statements = parsed["statements"]
    if not statements:
        raise QueryError("the query is empty; write one SELECT, such as SELECT * FROM catalog.versions")
    if len(statements) > 1:
        raise QueryError(f"a query is exactly one SELECT, and this text has {len(statements)}; run them one by one")
    tree: dict[str, Any] = statements[0]
    return tree


def _parse_error(parsed: dict[str, Any], sql: str) -> str:
    if parsed.get("error_type") != "parser":
        if re.search(r"\bpivot\b", sql, re.IGNORECASE):
            return "a PIVOT in a query lists its values: PIVOT ... ON label IN ('a', 'b') USING count(*)"
        return _ONE_SELECT
    message = str(parsed["error_message"])
    if "max_expression_depth" in message:
        return _TOO_DEEP
    if "position" in parsed:
        message += f" (character {int(parsed['position']) + 1})"
    if re.search(r'near "[-@.]', message):
        message += "; names with '-', '.' or '@' stand in double quotes: scored.\"fashion@3\""
    return message


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON value."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def _check_node(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _READING_NODES:
        raise QueryError(_ONE_SELECT)
    if node.get("class") == "PARAMETER":
        raise QueryError("a query takes no parameters; write the values into it")
    if node.get("show_type") == "SHOW_SPECIAL":
        raise QueryError("SHOW is not available; SELECT kind, version FROM catalog.versions lists what there is")
    if kind != "TABLE_FUNCTION" or _is_own_call(node):
        return
    name = str(node["function"]["function_name"]).lower()
    if name not in TABLE_FUNCTIONS:
        known = ", ".join((*OWN_FUNCTIONS, *TABLE_FUNCTIONS))
        raise QueryError(
            f"the table function {name!r} is not available: a query reads only the store's tables "
            f"(catalog.versions lists them) and {known}; bring other files in with `tamis ingest`"
        )


def _is_own_call(node: dict[str, Any]) -> bool:
    """Whether a node stands for one of tamis' own functions in FROM."""
    return node.get("type") == "TABLE_FUNCTION" and tuple(map(str.lower, _path(node["function"]))) in _OWN_PATHS


def _call(function: dict[str, Any]) -> tuple[str, ...]:
    """Name and texts of a call of one of tamis' own functions; anything but plain texts is refused."""
    name = _path(function)[0].lower()
    texts = []
    for argument in function.get("arguments", []):
        literal = argument["expression"].get("literal", {})
        if "name" not in argument and literal.get("kind") == "STRING":
            texts.append(str(literal.get("text", "")))
    if len(texts) != len(function.get("arguments", [])) or len(texts) != OWN_FUNCTIONS[name]:
        raise QueryError(_USAGE[name])
    return (name, *texts)


def _path(node: dict[str, Any]) -> tuple[str, ...]:
    return tuple(node["qualified_name"]["path"])


def _columns_read(nodes: list[dict[str, Any]]) -> frozenset[str] | None:
    """A superset of the columns read, or None where whole rows may be meant."""
    rows: set[str] = set()
    referred: set[str] = set()
    words: set[str] = set()
    for node in nodes:
        kind = node.get("type")
        if kind in _WHOLE_ROWS or node.get("ref_type") == "NATURAL" or "column_name_alias" in node:
            return None
        if kind in _IN_FROM:
            rows.add(str(node.get("alias", "")).casefold())
        if kind == "BASE_TABLE":
            rows.add(_path(node)[-1].casefold())
        if kind == "COLUMN_REF":
            referred.add(str(node["column_names"][-1]).casefold())
        words.update(_words(node))
    return None if rows & referred else frozenset(words)


def _words(node: dict[str, Any]) -> Iterator[str]:
    """Every text directly in a node, case-folded: names of columns among them."""
    for value in node.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield one.casefold()
