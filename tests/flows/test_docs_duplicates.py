import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows import cli
from storage.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "duplicates.md").read_text(encoding="utf-8")
INGEST = "ingest {} --name news --label kind --key id --features text"


def write_rows(path: Path, first: int, last: int) -> None:
    """Texts of 40 words; every tenth is that of five rows before with another last word, 25 and 65 copy row 5."""
    texts = [" ".join(f"w{word}" for word in np.random.default_rng(row).integers(900, size=40)) for row in range(last)]
    for row in (25, 65):
        if row < last:
            texts[row] = texts[5]
    for row in range(10, last, 10):
        texts[row] = " ".join([*texts[row - 5].split()[:-1], "other"])
    rows = {"id": range(first, last), "text": texts[first:last], "kind": ["new", "old"] * ((last - first) // 2)}
    pl.DataFrame(rows).write_csv(path)


def tamis(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(shlex.split(command))
    assert not stop.value.code, f"{command}\n{capsys.readouterr().err}"


def test_the_recipe_finds_copies_also_among_appended_rows(tmp_path, monkeypatch, capsys):
    write_rows(tmp_path / "news.csv", 0, 60)
    write_rows(tmp_path / "more.csv", 60, 80)
    recipe, query = (re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)[0] for kind in ("toml", "sql"))
    (tmp_path / "news.toml").write_text(recipe, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAMIS_STORE", str(tmp_path / "store"))
    tamis(INGEST.format("news.csv") + " --text text", capsys)
    tamis("run news.toml --no-prefect", capsys)
    tamis("ingest more.csv --name news --append", capsys)
    tamis("run news.toml --no-prefect", capsys)
    store = Store.open(tmp_path / "store")
    split = dict(store.sql("SELECT example_id, split FROM dataset.news").rows())
    training = [row for row in range(80) if split[f"news:{row}"] == "train"]
    # Rows 5, 10, 25, 30 and 65 are one cluster, rows 15 and 20 another, 35 and 40, ...
    heads = {10: 5, 25: 5, 30: 5, 65: 5, 70: 5, **{row: row - 5 for row in (20, 40, 50, 60)}}
    clusters: dict[int, list[int]] = {}
    for row in training:
        clusters.setdefault(heads.get(row, row), []).append(row)
    expected = {(f"news:{rows[0]}", len(rows)) for rows in clusters.values() if len(rows) > 1}
    assert len(expected) > 2
    found = store.sql(query)
    assert {(keeper, number) for keeper, number, _ in found.rows()} == expected
    assert found["least_alike"].min() > 0.7
    columns = store.record(store.version("scored", "news").artifact).meta["columns"]
    assert {store.record(one).meta["computed"].partition(" ")[0] for one in columns.values()} == {"incremental"}
    copies = store.sql("SELECT example_id FROM scored.news WHERE copies = 1")["example_id"].to_list()
    # Row 30, made from row 25, equals row 10; so does row 70.
    same = [[row for row in group if row in training] for group in ((5, 25, 65), (10, 30, 70))]
    assert set(copies) == {f"news:{row}" for group in same for row in group[1:]}
    assert [one.number for one in store.versions("subset", "news-once")] == [1, 2]
