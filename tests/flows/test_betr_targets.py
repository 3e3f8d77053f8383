import copy

import numpy as np
import polars as pl
import pytest

from flows import cli
from flows.config import parse_recipe
from flows.curate_and_train import curate_and_train, finished_before
from flows.ingest_by_hand import append_location, ingest_location
from flows.reproduce_version import reproduce_version
from flows.step import show_nothing
from storage.errors import NotFoundError
from storage.store import Store
from tests.flows.commands import tamis
from tests.flows.growing import COLUMNS, no_progress

SCIENCE, SEA = ("atom", "heat", "cell", "acid"), ("sail", "mast", "tide", "crew")
POOL = {**COLUMNS, "label": None, "features": ("text",), "text": ("text",), "split": "part"}
BENCHMARKS = {**POOL, "group": "benchmark"}
RECIPE = {
    "name": "pool",
    "dataset": "pool",
    "signals": {
        "grams": {"method": "ngram_counts", "column": "text", "sizes": [1], "num_buckets": 256},
        "lengths": {"method": "num_tokens", "column": "text"},
    },
    "scorers": {
        "betr": {"method": "betr", "signals": "grams", "targets": "benchmarks", "num_dimensions": 4},
        "near": {"method": "cosine_max", "signals": "grams", "targets": "benchmarks", "num_dimensions": 4},
    },
    "selection": {
        "subset": "chosen",
        "method": "token_budget",
        "signals": "lengths",
        "score": "betr",
        "token_fraction": 0.3,
    },
}


def write(folder) -> None:
    rng = np.random.default_rng(2)

    def text(words: tuple[str, ...]) -> str:
        return " ".join([*rng.choice(words, 3), *rng.choice(["the", "of", "and"], 6)])

    for name, first, last in (("pool", 0, 60), ("more", 60, 70)):
        texts = [text(SCIENCE if row % 3 == 0 else SEA) for row in range(first, last)]
        pl.DataFrame({"id": range(first, last), "text": texts, "part": "train"}).write_csv(folder / f"{name}.csv")
    rows = {"id": range(16), "text": [text(SCIENCE if row < 12 else SEA) for row in range(16)]}
    split = {"part": ["train"] * 12 + ["test"] * 4, "benchmark": ["one", "two"] * 8}
    pl.DataFrame({**rows, **split}).write_csv(folder / "benchmarks.csv")


@pytest.fixture
def begun(tmp_path) -> Store:
    write(tmp_path)
    store = Store.create(tmp_path / "store")
    ingest_location(store, str(tmp_path / "pool.csv"), "pool", POOL, no_progress)
    ingest_location(store, str(tmp_path / "benchmarks.csv"), "benchmarks", BENCHMARKS, no_progress)
    return store


def run(store: Store, raw=RECIPE) -> None:
    curate_and_train(store, parse_recipe(raw), show_nothing)


def test_documents_like_the_training_split_of_a_stored_data_set_are_selected(begun):
    run(begun)
    shown = begun.sql("SELECT *, CAST(split_part(example_id, ':', 2) AS INT) % 3 = 0 AS science FROM scored.pool")
    assert len(shown) == 60
    assert shown.filter("science")["betr"].min() > shown.filter(~pl.col("science"))["betr"].max()
    named = set(shown.filter(pl.col("betr_target") != "")["betr_target"])
    assert named <= {f"benchmarks:{row}" for row in range(12)}
    assert shown["near_target"].is_in([f"benchmarks:{row}" for row in range(12)]).all()
    kept = begun.sql("SELECT example_id FROM subset.chosen WHERE weight > 0")["example_id"].to_list()
    assert len(kept) == 18
    assert all(int(one.split(":")[1]) % 3 == 0 for one in kept)
    checks = list(reproduce_version(begun, begun.version("subset", "chosen"), (), show_nothing))
    assert [one.difference for one in checks] == [None] * len(checks)


def test_a_subset_of_a_pool_without_labels_is_shown_and_its_next_query_names_no_label(begun, capsys):
    run(begun)
    code, out, err = tamis("show", "chosen@1", "--store", str(begun.root), capsys=capsys)
    assert (code, err) == (0, "")
    assert "18" in out
    assert "42" in out
    said: list[str] = []
    cli._print_next(lambda line, **_: said.append(line), begun, parse_recipe(RECIPE))
    assert any("SELECT example_id, near FROM scored.pool" in line for line in said)


def test_documents_that_share_ngrams_with_an_evaluation_set_are_dropped_with_a_reason(begun, tmp_path):
    text = pl.read_csv(tmp_path / "pool.csv")["text"][7]
    asked = {"id": [0, 1], "text": ["never seen before by anybody", f"Q: {text.upper()}?"], "part": "train"}
    pl.DataFrame(asked).write_csv(tmp_path / "asked.csv")
    ingest_location(begun, str(tmp_path / "asked.csv"), "asked", POOL, no_progress)
    raw = copy.deepcopy(RECIPE)
    raw["signals"]["runs"] = {"method": "contamination_ngrams", "column": "text", "size": 9, "most": 32}
    raw["scorers"] = {"shared": {"method": "contamination", "signals": "runs", "targets": "asked"}}
    raw["selection"] = {"subset": "clean", "method": "everything", "where": "shared = 0"}
    run(begun, raw)
    shown = begun.sql("SELECT example_id, shared_target FROM scored.pool WHERE shared > 0").rows()
    assert shown == [("pool:7", "asked:1")]
    dropped = begun.sql("SELECT example_id, reason FROM subset.clean WHERE weight = 0").rows()
    assert dropped == [("pool:7", "does not fulfil shared = 0")]


def test_evaluation_rows_that_would_not_be_looked_for_are_refused(begun):
    raw = copy.deepcopy(RECIPE)
    raw["signals"]["runs"] = {"method": "contamination_ngrams", "column": "text", "size": 9, "most": 32}
    raw["scorers"] = {"shared": {"method": "contamination", "signals": "runs", "targets": "benchmarks"}}
    raw["selection"] = {"subset": "clean", "method": "everything", "where": "shared = 0"}
    with pytest.raises(ValueError, match=r"4 rows of the targets .* are in other splits than train and would not be"):
        run(begun, raw)


def test_targets_enter_as_inputs_and_other_targets_are_another_score(begun, tmp_path):
    run(begun)
    columns = begun.record(begun.version("scored", "pool").artifact).meta["columns"]
    assert begun.record(columns["betr"]).request.inputs["targets"] == begun.version("dataset", "benchmarks").artifact
    changed = pl.read_csv(tmp_path / "benchmarks.csv").head(10)
    changed.write_csv(tmp_path / "fewer.csv")
    assert finished_before(begun, parse_recipe(RECIPE)) is not None
    ingest_location(begun, str(tmp_path / "fewer.csv"), "benchmarks", BENCHMARKS, no_progress)
    assert finished_before(begun, parse_recipe(RECIPE)) is None
    run(begun)
    again = begun.record(begun.version("scored", "pool").artifact).meta["columns"]
    assert again["betr"] != columns["betr"]


def test_appended_documents_can_be_scored_by_what_was_fitted_before(begun, tmp_path):
    raw = copy.deepcopy(RECIPE)
    raw["scorers"] = {"betr": {**RECIPE["scorers"]["betr"], "new_rows": "frozen"}}
    run(begun, raw)
    append_location(begun, str(tmp_path / "more.csv"), "pool", POOL, no_progress)
    before = begun.sql("SELECT example_id, betr FROM scored.pool ORDER BY example_id")
    run(begun, raw)
    after = begun.sql("SELECT example_id, betr, betr_rank, betr_frozen FROM scored.pool ORDER BY example_id")
    assert after.filter(~pl.col("betr_frozen")).select("example_id", "betr").equals(before)
    new = after.filter("betr_frozen")
    assert len(new) == 10
    assert new["betr_rank"].to_list() == [0] * 10


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"targets": None}, ValueError, r"scorers\.betr \(betr\) needs targets; name a data set of the store"),
        ({"targets": "nothing"}, NotFoundError, "nothing"),
        ({"targets": "pool"}, ValueError, "is pool@1, the data set that is scored; name another one"),
        (
            {"method": "text_classifier", "num_dimensions": None, "target": 0},
            ValueError,
            "reads no targets; see scorers",
        ),
    ],
)
def test_targets_without_sense_are_one_sentence(begun, changes, kind, sentence):
    betr = {key: value for key, value in {**RECIPE["scorers"]["betr"], **changes}.items() if value is not None}
    with pytest.raises(kind, match=sentence):
        run(begun, {**RECIPE, "scorers": {"betr": betr}})
