import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from flows.curate_and_train import curate_and_train
from flows.report.answers import write_answer
from flows.step import show_nothing
from storage.store import Store
from tests.flows.commands import tamis
from tests.flows.recipes import small_recipe


@pytest.fixture(scope="module")
def store(finished, tmp_path_factory) -> Store:
    """A finished store with a second version of the subset."""
    root = Path(tmp_path_factory.mktemp("why")) / "store"
    shutil.copytree(finished[0].root, root)
    copied = Store.open(root)
    curate_and_train(copied, small_recipe("selection.maximum=0.05", "arms=[]"), show_nothing)
    return copied


@pytest.fixture(scope="module")
def flagged(store) -> str:
    """An example that both versions dropped."""
    return store.sql("SELECT example_id FROM scored.digits ORDER BY elr_noise DESC NULLS LAST LIMIT 1").item()


def asked(capsys, store: Store, *arguments: str) -> tuple[int, str, str]:
    return tamis(*arguments, "--store", str(store.root), capsys=capsys)


def test_why_tells_the_row_the_scores_and_each_verdict(store, flagged, capsys):
    code, out, err = asked(capsys, store, "why", flagged)
    assert (code, err) == (0, "")
    row = store.sql(f"SELECT * FROM scored.digits WHERE example_id = '{flagged}'").row(0, named=True)
    assert f"{flagged} in digits@1" in out
    for name in ("el2n", "loss", "aum", "elr_noise"):
        assert f"{row[name]:.6g}" in out
    assert "high means suspect" in out
    assert "dropped by digits-clean@2: weight 0, elr_noise above 0.05" in out
    assert "dropped by digits-clean@1: weight 0, elr_noise above 0\n" in out
    assert "rule  threshold: score elr_noise, maximum 0.05" in out
    assert out.count(f"read  elr_noise {row['elr_noise']:.6g} (rank 1, percentile 100.0)") == 2


def test_why_of_a_test_example_says_that_it_is_not_scored(store, capsys):
    example = store.sql("SELECT example_id FROM dataset.digits WHERE split = 'test' LIMIT 1").item()
    code, out, _ = asked(capsys, store, "why", example)
    assert code == 0
    assert "only examples of the train split are scored" in out


def test_why_goes_to_files_and_formats(store, flagged, capsys, tmp_path):
    code, out, _ = asked(capsys, store, "why", flagged, "--format", "json")
    assert code == 0
    assert len(json.loads(out)) == len(store.why(flagged))
    code, _, err = asked(capsys, store, "why", flagged, "--output", str(tmp_path / "why.csv"))
    assert code == 0
    assert "rows written" in err
    assert pl.read_csv(tmp_path / "why.csv").height == len(store.why(flagged))


def test_diff_counts_names_what_changed_and_shows_some_rows(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = asked(capsys, store, "diff", "digits-clean@1", "digits-clean@2", "--rows", "2")
    found = store.diff("digits-clean@1", "digits-clean@2")
    assert (code, err) == (0, "")
    assert "digits-clean@1 → digits-clean@2" in out
    assert re.search(rf"added +{found.counts['added']}\b", out)
    assert "selector.maximum" in out
    assert "rule maximum 0 → 0.05" in " ".join(out.split())
    assert f"{found.counts['added'] - 2} more; --rows N shows N, --output FILE keeps all" in out


def test_diff_of_data_sets_and_to_a_file(store, capsys, tmp_path):
    code, out, _ = asked(capsys, store, "diff", "digits@1", "digits@latest")
    assert code == 0
    assert "content changed" in out
    rows = store.diff("digits-clean@1", "digits-clean@2").rows
    for name in ("rows.csv", "rows.json", "rows.parquet"):
        code, _, err = asked(
            capsys, store, "diff", "digits-clean@1", "digits-clean@2", "--output", str(tmp_path / name)
        )
        assert code == 0
        assert f"{len(rows)} rows written" in err
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(rows)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("why", "digits"), "write <data set>:<key>"),
        (("why", "digits:nope"), "has no example 'digits:nope'"),
        (("diff", "digits-clean@1", "digits@1"), "compare two subsets or two data sets"),
        (("diff", "digits-clean@1", "digits-clean@9"), "has no version 9"),
        (("diff", "nope", "digits@1"), "there is nothing named 'nope'"),
        (("sql", "SELECT 1", "--memory", "much"), "--memory must be a number with a unit"),
        (("sql", "SELECT 1", "--memory", "1KB"), "--memory must be at least 16000000, got 1000"),
        (("sql", "SELECT 1", "--threads", "0"), "--threads must be at least 1, got 0"),
        (("sql", "SELECT 1", "--timeout", "0"), "--timeout must be above 0, got 0.0"),
        (
            (
                "sql",
                "SELECT count(*) FROM range(1000000000) a, range(9) b WHERE a.range <> b.range",
                "--timeout",
                "0.2",
            ),
            "stopped after 0.2 s",
        ),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_wrong_call_is_one_sentence(store, capsys, arguments, sentence):
    code, out, err = asked(capsys, store, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("tamis: ")
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["answer.csv", "answer.json", "answer.parquet"])
def test_an_answer_in_parts_is_the_file_of_the_whole(tmp_path, name, capsys):
    whole = pl.DataFrame({"n": range(10), "text": ['a,"b', None] * 5, "list": [[1, 2], None] * 5})
    write_answer([whole], "table", str(tmp_path / f"whole-{name}"), avoid=tmp_path / "store")
    write_answer(iter([whole[:4], whole[4:4], whole[4:]]), "table", str(tmp_path / name), avoid=tmp_path / "store")
    read = {"csv": pl.read_csv, "json": pl.read_json, "parquet": pl.read_parquet}[name.rpartition(".")[2]]
    assert read(tmp_path / name).equals(read(tmp_path / f"whole-{name}"))
    assert len(read(tmp_path / name)) == 10
    write_answer([whole[:0]], "table", str(tmp_path / f"empty-{name}"), avoid=tmp_path / "store")
    assert "0 rows written" in capsys.readouterr().err


def test_an_answer_that_fails_half_way_leaves_no_file(tmp_path):
    def parts():
        yield pl.DataFrame({"n": [1]})
        raise ValueError("late")

    for name in ("a.csv", "a.json", "a.parquet"):
        with pytest.raises(ValueError, match="late"):
            write_answer(parts(), "table", str(tmp_path / name), avoid=tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["store.json", "artifacts/answer.csv", "../{name}/store.json"])
def test_an_answer_never_goes_into_the_store(store, capsys, place):
    before = sorted((path, path.read_bytes()) for path in store.root.rglob("*") if path.is_file())
    output = str(store.root / place.format(name=store.root.name))
    for command in (["sql", "SELECT 1"], ["diff", "digits-clean@1", "digits-clean@2"]):
        code, _, err = asked(capsys, store, *command, "--output", output)
        assert code == 1
        assert "overlap" in err
    assert sorted((path, path.read_bytes()) for path in store.root.rglob("*") if path.is_file()) == before


def test_an_answer_for_a_missing_directory_is_one_sentence(store, tmp_path, capsys):
    code, _, err = asked(capsys, store, "sql", "SELECT 1", "--output", str(tmp_path / "none" / "a.csv"))
    assert (code, err) == (
        1,
        f"tamis: there is no directory {tmp_path}/none for {tmp_path}/none/a.csv; make it first\n",
    )


@pytest.mark.parametrize(
    ("output", "further", "sentence"),
    [
        ("a.xlsx", (), "the ending of .*a.xlsx names no format; use csv, json, jsonl, parquet or txt, or --format"),
        ("answer", (), "the ending of .*answer names no format"),
        ("a.csv", ("--format", "json"), "--format json contradicts the ending of .*a.csv"),
        ("s3://bucket/a.csv", (), "s3://bucket/a.csv is a URL; name a file of this machine"),
    ],
)
def test_an_answer_is_in_the_format_that_its_file_is_named_for(store, tmp_path, capsys, output, further, sentence):
    place = output if "://" in output else str(tmp_path / output)
    code, _, err = asked(capsys, store, "sql", "SELECT 1", "--output", place, *further)
    assert code == 1
    assert re.search(sentence, err)
    assert list(tmp_path.iterdir()) == []
