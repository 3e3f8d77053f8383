import json

import numpy as np
import polars as pl
import pytest

from flows.check_subset import check_step, check_subset
from flows.checked_rows import checked_rows
from flows.config import parse_recipe
from flows.curate_and_train import curate_and_train
from flows.step import is_done, show_nothing
from storage.errors import NotFoundError
from storage.store import Store
from tests.flows.commands import tamis
from tests.flows.uneven import rebalanced, uneven_rows, uneven_store

NAMES = [f"x{number}" for number in range(9)]
WORDS = np.array([f"w{number}" for number in range(60)])


def rows() -> pl.DataFrame:
    """300 rows; the numbers of 45 lie far off, two test rows have those of training rows, and one nearly does.

    The texts of four test rows are those of training rows in capitals, those of four more have a further word.
    """
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(300, 9))
    numbers[:45, :3] += rng.uniform(4, 30, size=(45, 3))
    numbers[220:222] = numbers[100:102]
    numbers[222] = numbers[102] + 0.01
    texts = [" ".join(rng.choice(WORDS, 30)) for _ in range(300)]
    texts[220:224] = [one.upper() for one in texts[100:104]]
    texts[224:228] = [f"{one} more" for one in texts[104:108]]
    places = np.where(np.arange(300) % 4 == 0, "rare", "common")
    kinds = np.where(np.arange(300) < 60, "odd", "even")
    splits = ["train"] * 220 + ["test"] * 80
    frame = {"row": [f"r{one}" for one in range(300)], "words": texts, "kind": kinds, "place": places, "part": splits}
    return pl.DataFrame({**frame, **dict(zip(NAMES, numbers.T, strict=True))})


def made(place, features: list[str], examiner: dict[str, object]) -> Store:
    """A store in which a subset `near` holds the 175 of 220 training rows that lie nearest to others."""
    rows().write_csv(place / "rows.csv")
    columns = {"features": features, "label": "kind", "key": "row", "group": "place", "split": "part"}
    recipe = {
        "name": "toys",
        "source": {"location": str(place / "rows.csv")},
        "columns": {**columns, "text": ["words"] if "words" in features else []},
        "signals": {"space": examiner},
        "scorers": {"far": {"method": "knn_distance", "signals": "space", "num_neighbors": 3}},
        "selection": {"subset": "near", "method": "top_fraction", "score": "far", "fraction": 175 / 220, "keep": "low"},
    }
    store = Store.create(place / "store")
    curate_and_train(store, parse_recipe(recipe), show_nothing)
    return store


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Store:
    return made(tmp_path_factory.mktemp("tables"), NAMES, {"method": "features"})


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Store:
    return made(tmp_path_factory.mktemp("texts"), ["words"], {"method": "hashed_ngrams", "column": "words"})


def test_what_a_selection_did_to_a_table_is_found(tables):
    found = check_subset(tables, "near@1")
    assert found["counts"] == {"pool": 220, "kept": 175, "validation": 0, "test": 80}
    dropped, test, kept_test = found["two_samples"]
    assert dropped["sentence"].startswith("the subset is distinguishable from the rest of the pool by a linear")
    assert dropped["distinguishable"]
    assert dropped["auroc"] > 0.9
    assert (dropped["num_first"], dropped["num_second"], dropped["on"]) == (175, 45, "recorded embedding")
    assert (test["num_first"], test["num_second"], test["on"]) == (220, 80, "features")
    assert (kept_test["first"], kept_test["second"]) == ("the subset", "the test split")
    assert found["effective_rank"]["num_rows"] == 175
    assert 1 < found["effective_rank"]["kept"] < 9
    by_class, by_group = found["shifts"]
    assert (by_class["by"], by_group["by"]) == ("class", "group")
    assert {one["name"]: one["pool"] for one in by_class["parts"]} == {"odd": 60, "even": 160}
    assert by_class["p_value"] < 1e-6 < by_group["p_value"]
    same, near = found["leakage"]
    assert (same["split"], same["kind"], same["pairs"], same["compared"]) == ("test", "same content", 2, 80)
    assert [(one["training"], one["other"]) for one in same["most_alike"]] == [
        ("toys:r100", "toys:r220"),
        ("toys:r101", "toys:r221"),
    ]
    assert (near["pairs"], near["compared"]) == (1, 78)
    assert (near["most_alike"][0]["training"], near["most_alike"][0]["other"]) == ("toys:r102", "toys:r222")


def test_texts_are_compared_by_their_words_and_pairs_by_their_shingles(texts):
    found = check_subset(texts, "near")
    assert [one["on"] for one in found["two_samples"]] == ["words", "words", "words"]
    assert found["two_samples"][1]["low"] < 0.55
    same, near = found["leakage"]
    selection = texts.selection(texts.version("subset", "near").artifact)
    kept = set(selection.index.ids.filter(pl.Series(selection.kept)))
    pairs = [(f"toys:r{row}", f"toys:r{row + 120}") for row in range(100, 108)]
    assert sum(training in kept for training, _ in pairs) >= 3
    for found_pairs, expected in ((same, pairs[:4]), (near, pairs[4:])):
        named = {(one["training"], one["other"]) for one in found_pairs["most_alike"]}
        assert named == {pair for pair in expected if pair[0] in kept}
    assert all(0.8 <= one["similarity"] < 1 for one in near["most_alike"])


def test_a_check_is_kept_in_the_store_and_the_same_again(tables):
    first = check_subset(tables, "near@1")
    step = check_step(tables, "near@1")
    assert is_done(tables, step)
    assert check_subset(tables, "near") == first
    assert tables.record(step.id).kind == "check"


def test_the_command_prints_tables_and_json(tables, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = tamis("check", "near@1", "--store", str(tables.root), capsys=capsys)
    assert code == 0
    assert "near@1: 175 of 220 training examples kept." in out
    assert "The subset is distinguishable from the rest of the pool by a linear classifier" in out
    assert "Shares by class, largest shift first, p = " in out
    assert "toys:r102" in out
    code, out, _ = tamis("check", "near@1", "--format", "json", "--store", str(tables.root), capsys=capsys)
    told = json.loads(out)
    assert code == 0
    assert told.pop("subset") == "near@1"
    assert told == check_subset(tables, "near@1")


def test_an_unknown_subset_is_one_sentence(tables, capsys):
    code, _, err = tamis("check", "far", "--store", str(tables.root), capsys=capsys)
    assert code == 1
    assert err.startswith("tamis: ")
    assert "'far'" in err
    with pytest.raises(NotFoundError):
        check_step(tables, "near@7")


def test_few_numbers_and_few_rows_are_said_and_not_guessed(tmp_path):
    recipe = {
        "name": "toys",
        "source": {"location": str(tmp_path / "rows.csv")},
        "columns": {"features": NAMES[:2], "label": "kind", "key": "row", "split": "part"},
        "selection": {"subset": "all", "method": "everything"},
    }
    rows().write_csv(tmp_path / "rows.csv")
    store = Store.create(tmp_path / "store")
    curate_and_train(store, parse_recipe(recipe), show_nothing)
    found = check_subset(store, "all")
    dropped, _ = found["two_samples"]
    assert dropped["skipped"] == "one of them has fewer than 20 rows of different content"
    assert found["effective_rank"]["kept"] == found["effective_rank"]["pool"]
    assert [one["by"] for one in found["shifts"]] == ["class"]
    assert found["shifts"][0]["p_value"] is None
    assert found["leakage"][1]["skipped"] == "of fewer than 8 numbers, rows are near each other by chance"


def test_synthetic_rows_made_from_what_the_test_split_holds_are_named(tmp_path, capsys, monkeypatch):
    frame = uneven_rows().with_row_index("at")
    # Row 7 is of the test split and gets the numbers of row 4, a training row of the small class.
    same = [pl.when(pl.col("at") == 7).then(pl.col(name).get(4)).otherwise(name).alias(name) for name in ("x", "n")]
    store = uneven_store(tmp_path, frame.with_columns(same).drop("at"))
    made = store.selection(rebalanced(store, {"method": "smote", "num_neighbors": 2})).synthetic
    expected = sorted(
        row
        for row, parents in zip(made.index.ids, zip(made.parent_a, made.parent_b, strict=True), strict=True)
        if "tiny:r4" in parents
    )
    assert 0 < len(expected) < len(made)
    found = {(one["split"], one["kind"]): one for one in check_subset(store, "even")["leakage"]}
    told = found["test", "parent of a synthetic row"]
    assert (told["pairs"], told["compared"]) == (len(expected), len(made))
    assert told["most_alike"] == [{"training": row, "other": "tiny:r7", "parent": "tiny:r4"} for row in expected]
    assert found["validation", "parent of a synthetic row"]["pairs"] == 0
    monkeypatch.setenv("COLUMNS", "160")
    assert "made from tiny:r4" in tamis("check", "even", "--store", str(store.root), capsys=capsys)[1]


def test_blocks_change_nothing(tables, monkeypatch):
    whole = checked_rows(tables.dataset("toys"), "train")
    monkeypatch.setattr("flows.checked_rows.BLOCK_ROWS", 7)
    parts = checked_rows(tables.dataset("toys"), "train")
    np.testing.assert_array_equal(parts.hashes, whole.hashes)
    np.testing.assert_array_equal(parts.numbers, whole.numbers)
