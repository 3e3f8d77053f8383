import re
from io import StringIO
from pathlib import Path

import polars as pl
import pytest

import flows
from flows.report.answers import print_table, write_answer
from flows.report.plain_console import PlainConsole
from flows.report.terminal import print_rows
from storage import Roles, ingest_frame
from storage.store import Store
from tests.flows.commands import tamis

ODD = ("[/b]", "[red]", ":apple:", "[INST] hi [/INST]")


def test_brackets_and_colons_of_data_are_printed_as_they_are():
    stream = StringIO()
    console = PlainConsole(file=stream, width=100)
    print_table(pl.DataFrame({"[/text]": ODD}), console, 10)
    print_rows("[/title]", [{"label": one} for one in ODD], console)
    assert [stream.getvalue().count(one) for one in (*ODD, "[/text]", "[/title]")] == [2, 2, 2, 2, 1, 1]


def test_a_path_with_brackets_is_named_as_it_is(tmp_path, capsys):
    (tmp_path / "a[").mkdir()
    write_answer([pl.DataFrame({"x": [1]})], "table", str(tmp_path / "a[" / "b].csv"), avoid=tmp_path / "store")
    assert "a[/b].csv" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize(
    "command", [("sql", "SELECT label, text FROM dataset.odd"), ("show", "odd:[/0]"), ("why", "odd:[/0]"), ("show",)]
)
def test_labels_and_texts_with_brackets_are_shown(tmp_path, capsys, command):
    store = Store.create(tmp_path / "store")
    rows = pl.DataFrame({"row": [f"[/{one}]" for one in range(4)], "text": ODD, "kind": ODD})
    ingest_frame(store, "odd", rows, roles=Roles(features=("text",), text=("text",), label="kind", key="row"))
    code, out, err = tamis(*command, "--store", store.location, capsys=capsys)
    assert (code, err) == (0, "")
    assert command == ("show",) or "[/b]" in out


def test_no_command_prints_on_a_console_that_reads_markup():
    folder = Path(flows.__file__ or "").parent
    sources = {path.name: path.read_text() for path in folder.rglob("*.py") if path.name != "plain_console.py"}
    assert [name for name, text in sources.items() if re.search(r"(?<!\w)Console\(", text)] == []
