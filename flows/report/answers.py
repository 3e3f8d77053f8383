"""A query's answer as a table, CSV, JSON or Parquet, to the terminal or to a file."""

import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.report.plain_console import PlainConsole
from storage.export.target import check_target

_ENDINGS = ("csv", "json", "jsonl", "parquet")
MOST_ROWS = 50
"""Rows of a table on the terminal; files and other formats get all."""
MOST_RECORDS = 10
"""Rows on the terminal where a table would be too wide and each row gets lines of its own."""


def write_answer(parts: Iterable[pl.DataFrame], shape: str, output: str | None, *, avoid: Path) -> None:
    """Write an answer; to a file part by part, so that it need not fit in memory.

    Args:
        parts: one or more frames with the same columns.
        shape: `table`, `csv`, `json`, `jsonl` (an object a line) or `parquet`; a file's ending goes before `table`.
        output: file to write, whole or not at all; None is standard output.
        avoid: a store's directory: answers go outside.

    Raises:
        ValueError: Parquet has no place on a terminal, or the file lies in the store or where no directory is,
            or its ending says nothing, or something else than the format.
    """
    if shape == "parquet" and output is None:
        raise ValueError("--format parquet needs --output FILE")
    if output is not None:
        shape = _shape_of(output, shape)
    else:
        _to_stream(pl.concat(parts), shape)
        return
    if "://" in output:
        raise ValueError(f"--output {output} is a URL; name a file of this machine")
    target = Path(output)
    check_target(target, replace=True, avoid=avoid)
    if not target.parent.is_dir():
        raise ValueError(f"there is no directory {target.parent} for {output}; make it first")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        rows = _to_file(iter(parts), shape, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    PlainConsole(stderr=True).print(f"{rows} rows written to {output}", highlight=False)


def _shape_of(output: str, shape: str) -> str:
    """The format that a file's ending and `--format` agree on."""
    ending = Path(output).suffix.removeprefix(".").lower()
    if ending not in _ENDINGS:
        if shape == "table" and ending != "txt":
            raise ValueError(f"the ending of {output} names no format; use {', '.join(_ENDINGS)} or txt, or --format")
        return shape
    if shape not in ("table", ending):
        raise ValueError(f"--format {shape} contradicts the ending of {output}; change one of them")
    return ending


def _to_stream(answer: pl.DataFrame, shape: str) -> None:
    if shape == "table":
        print_table(answer, PlainConsole(), MOST_ROWS)
    elif shape == "csv":
        sys.stdout.write(_flat(answer).write_csv())
    elif shape == "jsonl":
        sys.stdout.write(answer.write_ndjson())
    else:
        sys.stdout.write(answer.write_json() + "\n")


def _to_file(parts: Iterator[pl.DataFrame], shape: str, path: Path) -> int:
    """Write a file; the number of rows written."""
    if shape == "parquet":
        return _to_parquet(parts, path)
    if shape == "table":
        answer = pl.concat(parts)
        with path.open("w", encoding="utf-8") as stream:
            print_table(answer, PlainConsole(file=stream, width=200), len(answer))
        return len(answer)
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        for part in parts:
            if shape == "csv":
                stream.write(_flat(part).write_csv(include_header=not stream.tell()))
            elif shape == "jsonl":
                stream.write(part.write_ndjson())
            elif len(part):
                stream.write(("," if rows else "[") + part.write_json()[1:-1])
            rows += len(part)
        if shape == "json":
            stream.write("]" if rows else "[]")
    return rows


def _to_parquet(parts: Iterator[pl.DataFrame], path: Path) -> int:
    import pyarrow.parquet as pq

    rows, writer = 0, None
    try:
        for part in parts:
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            rows += len(part)
    finally:
        if writer is not None:
            writer.close()
    return rows


def print_table(answer: pl.DataFrame, console: Console, most: int) -> None:
    """Rows and columns as a table, or row by row where that is too wide; a word on the rows left out."""
    cells = [[_cell(value) for value in row] for row in answer.head(most).iter_rows()]
    widths = [max(len(name), *(len(row[place]) for row in cells), 0) for place, name in enumerate(answer.columns)]
    if sum(widths) + 3 * len(widths) > console.width and cells:
        cells = cells[:MOST_RECORDS]
        for number, row in enumerate(cells, start=1):
            console.print(f"row {number}", style="bold")
            console.print(_grid(dict(zip(answer.columns, row, strict=True))))
    else:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name, dtype in answer.schema.items():
            table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
        console.print(table)
    if len(answer) > len(cells):
        console.print(f"{len(answer) - len(cells)} more rows; --format csv or --output FILE gives all {len(answer)}")


def _grid(facts: dict[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(f"  {name}", value)
    return grid


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _flat(answer: pl.DataFrame) -> pl.DataFrame:
    """Nested columns as JSON text, which is what CSV can hold."""
    nested = [name for name, dtype in answer.schema.items() if dtype.is_nested()]
    return answer.with_columns(
        pl.Series(name, [None if one is None else str(one) for one in answer[name].to_list()]) for name in nested
    )
