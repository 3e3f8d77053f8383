"""Statement: what a user's SQL refers to, found by parsing it; nothing is bound, read or run.

This is the first of two walls around user SQL: it gives the clear messages. The second,
in `query.py`, is DuckDB's own lock, and holds even where this one is mistaken.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
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

_SETTINGS = "a query changes no setting; its memory, threads and time are set with --memory, --threads and --timeout"
_INSTEAD = {
    "explain": "EXPLAIN is not available; leave the word out, and read fewer columns where an answer takes long",
    "pragma": f"PRAGMA is not available: {_SETTINGS}; DESCRIBE scored.digits lists a table's columns",
    "set": _SETTINGS,
    "reset": _SETTINGS,
}
"""What to do in place of a statement that is no query, by its first word."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One SELECT, and what it refers to."""

    sql: str
    tables: tuple[tuple[str, ...], ...]
    """Names of tables that its own WITH does not make, each as its parts, without repeats."""
    calls: tuple[tuple[str, ...], ...]
    """Calls of `OWN_FUNCTIONS`, each as its name and its texts, without repeats."""
    columns: frozenset[str] | None
    """Case-folded words among which is every column that is read of any table; None if it may read all."""
    qualified: Mapping[str, frozenset[str]]
    """Further words, such as `label` in `s.label`, by the case-folded alias or name of the only table they are of."""
    aliases: Mapping[tuple[str, ...], frozenset[str]]
    """Case-folded aliases or names under which each table, its parts case-folded too, stands."""

    def columns_of(self, table: tuple[str, ...]) -> frozenset[str] | None:
        """Case-folded words among which is every column that is read of one table; None if it may read all."""
        if self.columns is None:
            return None
        return self.columns.union(*(self.qualified.get(alias, ()) for alias in self.aliases[_folded(table)]))


def parse_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> Statement:
    """What the SQL refers to.

    Raises:
        QueryError: it is not exactly one SELECT, or calls a table function that could open a file.
    """
    tree = tree_of(connection, sql)
    nodes = list(nodes_of(tree))
    for node in nodes:
        _check_node(node)
    local = {str(one["key"]).casefold() for node in nodes for one in node.get("cte_map", {}).get("map", [])}
    paths = [_path(node) for node in nodes if node.get("type") == "BASE_TABLE"]
    tables = dict.fromkeys(path for path in paths if len(path) > 1 or path[0].casefold() not in local)
    calls = dict.fromkeys(_call(node["function"]) for node in nodes if _is_own_call(node))
    aliases: dict[tuple[str, ...], set[str]] = {}
    for node in nodes:
        if node.get("type") == "BASE_TABLE":
            aliases.setdefault(_folded(_path(node)), set()).add(_shown_as(node))
    columns, qualified = _columns_read(nodes, set().union(*aliases.values()))
    return Statement(
        sql=sql,
        tables=tuple(tables),
        calls=tuple(calls),
        columns=columns,
        qualified=qualified,
        aliases={path: frozenset(found) for path, found in aliases.items()},
    )


def tree_of(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
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
        return _INSTEAD.get(_first_word(sql), _ONE_SELECT)
    message = str(parsed["error_message"])
    if "max_expression_depth" in message:
        return _TOO_DEEP
    if "position" in parsed:
        message += f" (character {int(parsed['position']) + 1})"
    if re.search(r'near "[-@.]', message):
        message += "; names with '-', '.' or '@' stand in double quotes: scored.\"fashion@3\""
    return message


def _first_word(sql: str) -> str:
    found = re.search(r"\w+", re.sub(r"--[^\n]*|/\*.*?\*/", " ", sql, flags=re.DOTALL))
    return found[0].lower() if found else ""


def nodes_of(tree: Any) -> Iterator[dict[str, Any]]:
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
    if node.get("show_type") == "SHOW_SPECIAL" or (node.get("show_type") == "SHOW" and len(_path(node)) == 1):
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


def _folded(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(str.casefold, path))


def _shown_as(table: dict[str, Any]) -> str:
    """By which case-folded name columns of a table in FROM are qualified."""
    return str(table.get("alias") or _path(table)[-1]).casefold()


def _columns_read(
    nodes: list[dict[str, Any]], aliases: Collection[str]
) -> tuple[frozenset[str] | None, dict[str, frozenset[str]]]:
    """A superset of the columns read of any table, or None where whole rows may be meant; and of single tables.

    In `a.b` the `a` may be a column too, so it counts as read; `b` is a column of what is called `a`, or a
    field of a column `a`.
    """
    rows: set[str] = set()
    referred: set[str] = set()
    words: set[str] = set()
    qualified: dict[str, set[str]] = {}
    for node in nodes:
        kind = node.get("type")
        if kind in _WHOLE_ROWS or node.get("ref_type") == "NATURAL" or "column_name_alias" in node:
            return None, {}
        if kind in _IN_FROM:
            rows.add(str(node.get("alias", "")).casefold())
        if kind == "BASE_TABLE":
            rows.add(_path(node)[-1].casefold())
        if kind == "COLUMN_REF":
            names = [str(name).casefold() for name in node["column_names"]]
            referred.add(names[-1])
            if len(names) == 2 and names[0] in aliases:
                qualified.setdefault(names[0], set()).add(names[1])
                words.update((names[0], str(node.get("alias", "")).casefold()))
                continue
        words.update(_words(node))
    if rows & referred:
        return None, {}
    return frozenset(words), {alias: frozenset(found) for alias, found in qualified.items()}


def _words(node: dict[str, Any]) -> Iterator[str]:
    """Every text directly in a node, case-folded: names of columns among them."""
    for value in node.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield one.casefold()
