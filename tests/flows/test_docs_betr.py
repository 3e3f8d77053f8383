import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows import cli
from flows.config import parse_recipe
from flows.curate_and_train import curate_and_train
from flows.ingest_by_hand import append_location, ingest_location
from flows.reproduce_version import reproduce_version
from flows.step import show_nothing
from storage.store import Store
from tests.flows.growing import COLUMNS, no_progress

PAGE = (Path(__file__).parents[2] / "docs" / "betr.md").read_text(encoding="utf-8")
SCIENCE, SEA = ("atom", "heat", "cell", "acid"), ("sail", "mast", "tide", "crew")
OWN = {**COLUMNS, "label": None, "features": ("vector",), "split": "part"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def rows(first: int, last: int, seed: int = 2) -> pl.DataFrame:
    """Texts of which every third is about science, with vectors that say so."""
    rng = np.random.default_rng(seed)
    about = np.arange(first, last) % 3 == 0
    texts = [" ".join([*rng.choice(SCIENCE if own else SEA, 3), *rng.choice(["the", "of", "and"], 6)]) for own in about]
    vectors = rng.normal(size=(last - first, 4)) + 9 * np.eye(4)[about.astype(int)]
    return pl.DataFrame({"id": range(first, last), "text": texts, "vector": vectors.tolist(), "part": "train"})


def benchmarks() -> pl.DataFrame:
    """Texts about science of two benchmarks, and four of the test split about the sea."""
    whole = rows(0, 60, seed=3).with_columns(science=pl.col("id") % 3 == 0)
    found = pl.concat([whole.filter("science").head(12), whole.filter(~pl.col("science")).head(4)])
    return found.with_columns(
        id=pl.Series(range(16)),
        split=pl.Series(["train"] * 12 + ["test"] * 4),
        benchmark=pl.Series(["one", "two"] * 8),
    )


def test_the_recipes_rank_by_words_and_by_an_embedding(tmp_path, monkeypatch, capsys):
    rows(0, 60).write_parquet(tmp_path / "pool.parquet")
    benchmarks().write_parquet(tmp_path / "benchmarks.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAMIS_STORE", str(tmp_path / "store"))
    commands = [line.removeprefix("$ tamis ") for block in blocks("console") for line in block.strip().splitlines()]
    files = [command.split()[1] for command in commands if command.startswith("run ")]
    recipes = [block for block in blocks("toml") if block.startswith("name = ")]
    assert files == ["pool.toml", "pool_vectors.toml", "benchmark_vectors.toml", "mixed.toml"]
    for file, recipe in zip(files, recipes, strict=True):
        Path(file).write_text(recipe, encoding="utf-8")
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            cli.main(shlex.split(command))
        assert not stop.value.code, f"{command}\n{capsys.readouterr().err}"
    store = Store.open(tmp_path / "store")
    assert store.dataset("benchmark-vectors").record.request.inputs["map"] == store.dataset("pool-vectors").id
    for name, subset in (("pool", "pool-for-benchmarks"), ("pool-vectors", "pool-by-embedding")):
        shown = store.sql(
            f"SELECT *, CAST(split_part(example_id, ':', 2) AS INT) % 3 = 0 AS science FROM scored.\"{name}\""
        )
        assert len(shown) == 60
        assert shown.filter("science")["betr"].min() > shown.filter(~pl.col("science"))["betr"].max()
        assert shown.filter(pl.col("betr_rank") == 1)["science"].all()
        kept = store.sql(f'SELECT example_id FROM subset."{subset}" WHERE weight > 0')["example_id"]
        assert len(kept) == 6
        assert all(int(one.split(":")[1]) % 3 == 0 for one in kept)
    (query,) = blocks("sql")
    assert set(store.sql(query)["benchmark"]) <= {"one", "two"}
    checks = list(reproduce_version(store, store.version("subset", "pool-by-embedding"), (), show_nothing))
    assert {one.difference for one in checks} == {None}


def test_appended_documents_with_vectors_of_their_own_can_be_scored_by_what_was_fitted_before(tmp_path):
    store = Store.create(tmp_path / "store")
    for name, first, last in (("pool", 0, 60), ("more", 60, 70)):
        rows(first, last, seed=first).write_parquet(tmp_path / f"{name}.parquet")
    benchmarks().drop("part").write_parquet(tmp_path / "benchmarks.parquet")
    ingest_location(store, str(tmp_path / "pool.parquet"), "pool", OWN, no_progress)
    beside = {**OWN, "split": "split", "group": "benchmark"}
    ingest_location(store, str(tmp_path / "benchmarks.parquet"), "benchmarks", beside, no_progress)
    raw = {
        "name": "pool",
        "dataset": "pool",
        "signals": {"both": {"method": "features_and_ngrams", "column": "text", "sizes": [1], "num_buckets": 256}},
        "scorers": {"betr": {"method": "betr_mixed", "signals": "both", "targets": "benchmarks", "new_rows": "frozen"}},
        "selection": {"subset": "chosen", "method": "top_fraction", "score": "betr", "fraction": 0.3, "keep": "high"},
    }
    curate_and_train(store, parse_recipe(raw), show_nothing)
    before = store.sql("SELECT example_id, betr FROM scored.pool ORDER BY example_id")
    append_location(store, str(tmp_path / "more.parquet"), "pool", OWN, no_progress)
    curate_and_train(store, parse_recipe(raw), show_nothing)
    after = store.sql("SELECT example_id, betr, betr_rank, betr_frozen FROM scored.pool ORDER BY example_id")
    assert after.filter(~pl.col("betr_frozen")).select("example_id", "betr").equals(before)
    new = after.filter("betr_frozen").with_columns(key=pl.col("example_id").str.split(":").list.last().cast(pl.Int64))
    assert new["betr_rank"].to_list() == [0] * 10
    science = pl.col("key") % 3 == 0
    assert new.filter(science)["betr"].min() > new.filter(~science)["betr"].max()
