"""Condition: one SQL expression that each training example fulfils or not, as `where` in a recipe's [selection].

It reads the columns of `scored.<data set>`, of scores named by their artifacts, so that what it decides never
depends on versions published later. The expression stands alone: `parse_condition` takes no text that has anything
beside it, and `fulfilled` runs it in the sandbox of `storage/query.py`.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.artifacts import Artifacts
from storage.dataset import Dataset
from storage.errors import QueryError
from storage.files import Files
from storage.limits import Deadline, Limits
from storage.query import clear_errors, run_sealed, sandbox, seal
from storage.remembered import RememberedArtifacts
from storage.statement import nodes_of, tree_of
from storage.versions import Versions
from storage.views import View, Views, quoted_name

_CLASSES = (
    *("BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION"),
    *("CONSTANT", "FUNCTION", "OPERATOR", "TYPE"),
)
"""What an expression may be made of: nothing that reads other rows or tables."""

_PARTS = ("type", "cte_map", "select_list", "from_table", "aggregate_handling")
"""What the syntax tree of `SELECT (<expression>)` has."""

_BEFORE = "SELECT (\n"
_TRUTH = "clean_label"
_ONE_EXPRESSION = "it must be one expression over one example, such as el2n < 0.9 AND label = 'cat'"
_MOST_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One expression that is true or false of an example."""

    text: str
    """As the user wrote it."""
    columns: frozenset[str]
    """Case-folded names of all columns that it reads."""

    def score_columns(self, name: str, suffixes: Collection[str]) -> frozenset[str]:
        """Those of its columns that belong to the score of this name: its value, and `name_suffix`."""
        own = {name.casefold(), *(f"{name}_{suffix}".casefold() for suffix in suffixes)}
        return self.columns & own


def parse_condition(text: str) -> Condition:
    """A condition, checked as far as its text goes.

    Raises:
        QueryError: it is not exactly one expression, reads other rows, tables or the true labels, or has a function
            whose answer is another one each time.
    """
    with _named(text), sandbox() as connection, clear_errors(Limits(), Deadline(None)):
        body = _tree(connection, text)["node"]
        if body["type"] != "SELECT_NODE" or not set(body) <= set(_PARTS) or body.get("cte_map"):
            raise QueryError(_ONE_EXPRESSION)
        if len(body["select_list"]) != 1 or "alias" in body["select_list"][0]:
            raise QueryError(_ONE_EXPRESSION)
        if body["from_table"]["type"] != "EMPTY":
            raise QueryError(_ONE_EXPRESSION)
        nodes = list(nodes_of(body["select_list"]))
        columns = frozenset(_columns_read(nodes))
        _check_functions(connection, nodes)
        if not columns:
            raise QueryError("it reads no column, so it would be the same for every example")
        if _TRUTH in columns:
            raise QueryError(f"{_TRUTH} is the truth, which only reports may read; choose by the given label")
    return Condition(text=text, columns=columns)


def check_columns(condition: Condition, known: Collection[str]) -> None:
    """Refuse a condition that reads a column which there is not.

    Raises:
        QueryError: naming the column, and those nearest to it or all.
    """
    folded = {name.casefold(): name for name in known}
    for column in sorted(condition.columns - folded.keys()):
        near = get_close_matches(column, list(folded), 3) or sorted(folded)[:_MOST_NAMES]
        listed = ", ".join(quoted_name(folded[one]) for one in near)
        with _named(condition.text):
            raise QueryError(f"there is no column {column!r} to choose by; the data set and its scores have {listed}")


def fulfilled(files: Files, dataset: str, scores: Mapping[str, str], condition: Condition) -> NDArray[np.bool_]:
    """Which training examples fulfil a condition.

    Args:
        files: bytes of the store.
        dataset: id of the data set.
        scores: ids of the scores that can be read, by the name of their column.
        condition: what to ask of each.

    Returns:
        (N,) over the training split in the order of its files; NULL counts as not fulfilled.

    Raises:
        QueryError: a column is unknown, types do not fit, or the answer is neither true nor false.
        CorruptError: a file cannot be read.
    """
    artifacts = RememberedArtifacts(Artifacts(files))
    record = artifacts.record(dataset)
    found = Views(files, artifacts, Versions(files)).scored("examples", record, scores)
    view = replace(found, columns=tuple(one for one in found.columns if one.name != _TRUTH))
    check_columns(condition, [one.name for one in view.columns])
    asked = f"SELECT example_id, (\n{condition.text}\n) AS fulfilled FROM scored.examples WHERE split = 'train'"
    with _named(condition.text), sandbox() as connection, clear_errors(Limits(), Deadline(None)):
        answers = _answers(connection, view, condition, asked)
    rows = Dataset(files, record).index("train").ids.to_frame()
    rows = rows.join(answers, on="example_id", how="left", validate="1:1", maintain_order="left")
    kept: NDArray[np.bool_] = rows["fulfilled"].fill_null(value=False).to_numpy()
    return kept


def _answers(connection: duckdb.DuckDBPyConnection, view: View, condition: Condition, asked: str) -> pl.DataFrame:
    """`example_id` and `fulfilled` of every training example, in any order."""
    connection.execute("CREATE SCHEMA scored")
    connection.execute(view.sql(condition.columns | {"example_id", "split"}))
    seal(connection, view.paths)
    answer = run_sealed(connection, asked)
    if str(answer.types[1]) != "BOOLEAN":
        raise QueryError(f"it must be true or false of each example, and it is of type {answer.types[1]}")
    frame = pl.from_arrow(answer.to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def _tree(connection: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """The syntax tree of `SELECT (<expression>)`; places in errors are counted in the expression."""
    try:
        return tree_of(connection, f"{_BEFORE}{text}\n)")
    except QueryError as error:
        told = re.sub(r"\(character (\d+)\)", lambda found: _place(int(found[1]), text), str(error))
        raise QueryError(" ".join(told.split())) from None


def _place(character: int, text: str) -> str:
    place = character - len(_BEFORE)
    return f"(character {place})" if place <= len(text) else "(at its end)"


def _columns_read(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        kind = node.get("class")
        if kind is not None and kind not in _CLASSES:
            raise QueryError(
                f"{str(kind).lower().replace('_', ' ')} is not available here: {_ONE_EXPRESSION}, and looks at no "
                "other row or table"
            )
        if kind != "COLUMN_REF":
            continue
        if len(node["column_names"]) != 1:
            raise QueryError(f"{'.'.join(node['column_names'])} has too many parts; columns stand alone, such as el2n")
        yield str(node["column_names"][0]).casefold()


def _check_functions(connection: duckdb.DuckDBPyConnection, nodes: list[dict[str, Any]]) -> None:
    """Refuse functions over several rows, and those whose answer follows from more than what they are given."""
    for name in dict.fromkeys(str(node["function_name"]).lower() for node in nodes if "function_name" in node):
        found = connection.execute(
            "SELECT function_type, stability FROM duckdb_functions() WHERE function_name = ?", [name]
        ).fetchall()
        scalar = [stability for kind, stability in found if kind == "scalar"]
        if found and not scalar:
            raise QueryError(f"the function {name!r} is not one of single values; {_ONE_EXPRESSION}")
        if any(stability != "CONSISTENT" for stability in scalar):
            raise QueryError(f"the answer of {name!r} changes from time to time, so the subset could not be made again")


@contextmanager
def _named(text: str) -> Iterator[None]:
    """Inside the block, what is wrong with a condition is told of that condition."""
    try:
        yield
    except QueryError as error:
        raise QueryError(f"the condition {' '.join(text.split())!r} cannot be used: {error}") from None
