import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from flows import cli
from storage.store import Store
from tests.flows.commands import tamis


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom flows import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'prefect', 'duckdb', 'polars', 'numpy', 'rich', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("run", "train", "serve", "ingest", "sql", "show", "methods"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "command",
    ["run", "train", "evaluate", "predict", "serve", "ingest", "sql", "show", "why", "diff", "reproduce", "methods"],
)
def test_every_command_explains_itself(command, capsys):
    code, out, _ = tamis(command, "--help", capsys=capsys)
    assert code == 0
    assert out.startswith("Usage:")


def test_a_finished_run_says_so_and_loads_neither_torch_nor_prefect(finished):
    store, _ = finished
    from tests.flows.recipes import SMALL

    arguments = ["run", "digits", "--store", str(store.root)]
    for override in SMALL:
        arguments += ["--set", override]
    code = (
        f"import sys\nfrom flows import cli\ntry:\n    cli.main({arguments!r})\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'prefect'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Nothing to compute: all" in done.stdout
    assert "Wrong labels found by each score" in done.stdout
    assert done.stderr == ""


def test_the_three_next_commands_work(finished, capsys, monkeypatch):
    store, _ = finished
    from tests.flows.recipes import small_recipe

    monkeypatch.setattr(sys, "argv", ["tamis"])
    lines: list[str] = []
    cli._print_next(lambda text, **_: lines.append(text), store, small_recipe())
    commands = [line.strip() for line in lines if line.startswith("  tamis")]
    assert [command.split()[1] for command in commands] == ["sql", "show", "train"]
    import shlex

    for command in commands[:2]:
        code, out, err = tamis(*shlex.split(command)[1:], capsys=capsys)
        assert (code, err) == (0, "")
        assert out


def test_the_next_commands_are_ready_for_the_shell(finished, monkeypatch, tmp_path):
    import shlex
    import shutil
    from dataclasses import replace

    from tests.flows.recipes import small_recipe

    store, _ = finished
    shutil.copytree(store.root, tmp_path / "it's here")
    copy = Store.open(tmp_path / "it's here")
    copy.publish("scored", "my-digits", copy.version("scored", "digits").artifact)
    recipe = small_recipe()
    aum = {"aum": recipe.scorers["aum"]}
    monkeypatch.setattr(sys, "argv", ["tamis"])
    lines: list[str] = []
    cli._print_next(lambda text, **_: lines.append(text), copy, replace(recipe, name="my-digits", scorers=aum))
    words = shlex.split(lines[1])
    assert words[-1] == str(copy.root)
    assert "ORDER BY aum ASC" in words[2]
    assert len(copy.sql(words[2])) == 5


@pytest.mark.parametrize("shape", ["table", "csv", "json"])
def test_sql_answers_in_every_shape(finished, capsys, shape):
    store, _ = finished
    query = 'SELECT label, count(*) AS n FROM subset."digits-clean" GROUP BY label ORDER BY label'
    code, out, _ = tamis("sql", query, "--format", shape, "--store", str(store.root), capsys=capsys)
    assert code == 0
    if shape == "json":
        assert len(json.loads(out)) == 10
    else:
        assert "label" in out
        assert len(out.splitlines()) >= 11


def test_sql_writes_files_whole_or_not_at_all(finished, capsys, tmp_path):
    store, _ = finished
    query, root = "SELECT * FROM scored.digits", str(store.root)
    for name in ("answer.parquet", "answer.csv", "answer.json"):
        code, _, err = tamis("sql", query, "--output", str(tmp_path / name), "--store", root, capsys=capsys)
        assert code == 0
        assert "1797 rows written" in err
    assert pl.read_parquet(tmp_path / "answer.parquet").height == 1797
    assert pl.read_csv(tmp_path / "answer.csv").height == 1797
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.csv", "answer.json", "answer.parquet"]
    code, _, err = tamis("sql", query, "--format", "parquet", "--store", root, capsys=capsys)
    assert (code, err) == (1, "tamis: --format parquet needs --output FILE\n")


def test_long_answers_are_cut_on_the_terminal_and_say_so(finished, capsys):
    store, _ = finished
    _, out, _ = tamis("sql", "SELECT example_id FROM dataset.digits", "--store", str(store.root), capsys=capsys)
    assert "1747 more rows; --format csv or --output FILE gives all 1797" in out


def test_show_prints_names_versions_and_examples(finished, capsys):
    store, _ = finished
    root = str(store.root)
    _, out, _ = tamis("show", "--store", root, capsys=capsys)
    assert "digits-clean@1" in out
    _, out, _ = tamis("show", "digits-clean@1", "--recipe", "--store", root, capsys=capsys)
    for part in ("lineage", "score.elr_noise", "reasons", '"scorers"', "kept"):
        assert part in out
    example = store.sql("SELECT example_id FROM scored.digits WHERE split = 'train' LIMIT 1")["example_id"][0]
    _, out, _ = tamis("show", example, "--store", root, capsys=capsys)
    for part in ("elr_noise", "el2n_se", "in digits-clean@1", "reason"):
        assert part in out


def test_train_on_a_subset_reports_every_seed_and_the_mean(finished, capsys, tmp_path):
    import shutil

    store, _ = finished
    shutil.copytree(store.root, tmp_path / "copy")
    arguments = (
        "train",
        "--subset",
        "digits-clean@1",
        "--learner",
        "elr",
        "--seeds",
        "2",
        "--set",
        "training.epochs=2",
    )
    code, out, _ = tamis(*arguments, "--store", str(tmp_path / "copy"), capsys=capsys)
    assert code == 0
    assert "mean ± standard error" in out
    assert out.count("training-") == 2


def test_ingest_adds_up_and_points_to_the_quarantine(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("id,size,label\n1,2.5,a\n2,3.5,\n3,1.0,b\n1,9.9,a\n")
    root = str(tmp_path / "store")
    arguments = ("--name", "x", "--label", "label", "--key", "id", "--features", "size", "--store", root)
    code, out, _ = tamis("ingest", str(tmp_path / "x.csv"), *arguments, capsys=capsys)
    assert code == 0
    assert "x@1: 4 rows read = 2 kept + 2 quarantined" in out
    _, out, _ = tamis("sql", "SELECT rule FROM quarantine.x", "--store", root, capsys=capsys)
    assert "duplicate key" in out


ERRORS = [
    (("run", "nope"), "there is no recipe named 'nope'"),
    (("run", "digits", "--set", "scorers.el2n.method=el3n"), "there is no scorer 'el3n'; there are"),
    (("run", "digits", "--set", "learners.plain.method=erm2"), "there is no learner 'erm2'; there are "),
    (("run", "digits", "--set", "name=../evil"), "cannot be a name"),
    (("run", "digits", "--set", "source.location=missing.csv"), "there is no file missing.csv"),
    (("run", "digits", "--set", "columns.label=answer"), "label column 'answer' is not in sklearn:digits"),
    (("train", "--subset", "digits-clean@7", "--learner", "elr"), "has no version 7; it has digits-clean@1"),
    (
        ("train", "--subset", "digits-clean", "--learner", "elf"),
        "there is no learner 'elf'; the subset's recipe has ",
    ),
    (("show", "nothing"), "there is nothing named 'nothing'; the store has digits"),
    (("show", "digits@9"), "has no version 9"),
    (("show", "digits:nope"), "has no example 'digits:nope'"),
    (("sql", "SELECT * FROM scored.nope"), "nope"),
    (("sql", "DROP TABLE x"), "SELECT"),
    (("methods", "nope"), "there is no method 'nope'; there are"),
    (("serve", "nope", "--cron", "0 3 * * *"), "there is no recipe named 'nope'"),
    (("ingest", "missing.parquet", "--name", "x"), "there is no file missing.parquet"),
    (("ingest", "README.md", "--name", "x"), "known formats are "),
    (("ingest", "sklearn:iris", "--name", "a/b"), "cannot be a name"),
]


@pytest.mark.parametrize(("arguments", "sentence"), ERRORS, ids=[" ".join(arguments) for arguments, _ in ERRORS])
def test_a_wrong_call_is_one_sentence_and_changes_nothing(finished, capsys, arguments, sentence):
    store, _ = finished
    before = {path: path.stat().st_mtime_ns for path in Path(store.root).rglob("*.json")}
    code, out, err = (
        tamis(*arguments, "--store", str(store.root), *(()), capsys=capsys)
        if arguments[0] != "methods"
        else (tamis(*arguments, capsys=capsys))
    )
    assert code == 1
    assert out == ""
    assert err.startswith("tamis: ")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in Path(store.root).rglob("*.json")} == before


def test_a_command_on_a_store_that_is_not_there_says_how_to_make_one(capsys, tmp_path):
    code, _, err = tamis("show", "--store", str(tmp_path / "none"), capsys=capsys)
    assert code == 1
    assert "there is no store at" in err
    assert "tamis run digits" in err
    assert not (tmp_path / "none").exists()


def test_serve_wants_one_schedule(capsys):
    for schedule in ((), ("--cron", "* * * * *", "--interval", "5")):
        code, _, err = tamis("serve", "digits", *schedule, capsys=capsys)
        assert code == 2
        assert "give either --cron or --interval" in err


def test_methods_are_listed_with_their_settings(capsys):
    _, out, _ = tamis("methods", capsys=capsys)
    for name in ("el2n", "top_fraction", "elr", "small_cnn"):
        assert name in out
    _, out, _ = tamis("methods", "elr", capsys=capsys)
    assert "https://arxiv.org/abs/2007.00151" in out
    assert "beta" in out
