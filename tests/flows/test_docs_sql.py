import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from flows.curate_and_train import curate_and_train
from flows.step import show_nothing
from storage.store import Store
from tests.flows.recipes import small_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^## (\d+\. .*?)$\n\n(.*?)\n\n```sql\n(.*?)```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def store(finished, tmp_path_factory) -> Store:
    """A finished store with a second version of the subset."""
    root = Path(tmp_path_factory.mktemp("docs")) / "store"
    shutil.copytree(finished[0].root, root)
    copied = Store.open(root)
    curate_and_train(copied, small_recipe("selection.maximum=0.05", "arms=[]"), show_nothing)
    return copied


def answer(store: Store, number: int) -> pl.DataFrame:
    (sql,) = [sql for title, _, sql in QUESTIONS if title.startswith(f"{number}. ")]
    return store.sql(sql)


def test_there_are_ten_questions_each_with_a_reason():
    assert [int(title.partition(".")[0]) for title, _, _ in QUESTIONS] == list(range(1, 11))
    assert all(reason.count(".") >= 1 and len(reason) > 60 for _, reason, _ in QUESTIONS)


@pytest.mark.parametrize("number", range(1, 11))
def test_every_query_on_the_page_has_an_answer(store, number):
    assert len(answer(store, number)) >= 1


def test_the_answers_mean_what_the_page_says(store):
    first = answer(store, 1)
    assert first["elr_noise"].is_sorted(descending=True)
    assert answer(store, 3)["el2n_aum"].item() > 0.5
    assert 0 < answer(store, 4)["noise_share"].item() < 1
    kept = answer(store, 5)
    newest = store.record(store.version("subset", "digits-clean").artifact)
    assert kept["kept"].sum() == newest.meta["kept"]
    bounds = answer(store, 6)
    assert bounds["kept"].is_sorted()
    assert bounds["examples"].n_unique() == 1
    flags = answer(store, 7)
    assert flags["precision"].item() > 0.5
    assert flags["recall"].item() > 0.5
    example = answer(store, 8)
    assert {"score", "subset"} <= set(example["kind"])
    moved = answer(store, 9)
    assert moved.select("change", "cause", "name").unique().rows() == [("added", "rule", "maximum")]
    assert (
        moved["examples"].sum()
        == newest.meta["kept"] - store.record(store.version("subset", "digits-clean@1").artifact).meta["kept"]
    )
    cost = answer(store, 10)
    assert cost.filter(kind="evaluation")["test_accuracy"].null_count() == 0
    assert cost.filter(kind="evaluation")["arm"].null_count() == 0
    assert {"training", "scores", "selection"} <= set(cost["kind"])


def test_the_catalogue_knows_how_well_each_score_finds_wrong_labels(store):
    found = store.sql("SELECT score, value FROM catalog.metrics WHERE metric = 'auroc'")
    assert set(found["score"]) == set(store.record(store.version("scored", "digits").artifact).meta["columns"])
    assert found["value"].is_between(0.5, 1).all()


def test_every_table_on_the_page_exists(store):
    names = {"dataset.<name>": "dataset.digits", "scored.<name>": "scored.digits"}
    names |= {"subset.<name>": 'subset."digits-clean"', "quarantine.<name>": "quarantine.digits"}
    for written, name in names.items():
        assert f"`{written}`" in PAGE
        store.sql(f"SELECT * FROM {name} LIMIT 1")
    for table in ("versions", "artifacts", "lineage", "metrics"):
        store.sql(f"SELECT * FROM catalog.{table} LIMIT 1")


def test_the_command_with_limits_works(store, tmp_path, monkeypatch):
    from flows import cli

    (command,) = re.findall(r"^\$ tamis (sql .*--timeout.*)$", PAGE, flags=re.MULTILINE)
    import shlex

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main([*shlex.split(command)[:1], *shlex.split(command)[1:], "--store", str(store.root)])
    assert stop.value.code == 0
    assert pl.read_parquet(tmp_path / "scored.parquet").height == 1797
