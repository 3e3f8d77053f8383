import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from flows.curate_and_train import curate_and_train
from flows.plan import plan_run
from flows.step import run_step, show_nothing
from storage.store import Store
from tests.flows.recipes import SMALL, small_recipe


def report_numbers(store: Store, report: str) -> dict:
    """A report without what depends on the clock."""
    return {key: value for key, value in store.record(report).meta.items() if key != "cost"}


def test_the_report_says_what_was_planted_found_kept_and_gained(finished):
    store, outcome = finished
    report = store.record(outcome.report).meta
    assert 0.15 < report["noise"]["realised_rate"] < 0.25
    assert {one["score"] for one in report["detection"]} == {"loss", "el2n", "aum", "elr_noise"}
    assert all(one["auroc"] > 0.9 for one in report["detection"])
    assert len(report["classes"]) == 10
    assert sum(one["kept"] + one["dropped"] for one in report["classes"]) == report["train_examples"]
    assert [arm["title"] for arm in report["arms"]] == [
        "plain on everything",
        "plain on the subset",
        "elr on everything",
    ]
    assert all(len(arm["by_seed"]) == 2 and arm["standard_error"] is not None for arm in report["arms"])
    assert report["cost"]["trainings"] == 4


def test_the_report_agrees_with_the_tables_it_was_made_from(finished):
    store, outcome = finished
    report = store.record(outcome.report).meta
    counts = store.sql('SELECT count(*) FILTER (weight > 0) AS kept FROM subset."digits-clean"')
    assert counts["kept"][0] == sum(one["kept"] for one in report["classes"])
    wrong = store.sql("SELECT count(*) AS n FROM scored.digits WHERE split = 'train' AND label <> clean_label")
    assert wrong["n"][0] == report["noise"]["wrong"]
    accuracies = store.sql(
        "SELECT avg(value) AS mean FROM catalog.metrics WHERE metric = 'test_accuracy' AND data = 'subset'"
    )
    (arm,) = [arm for arm in report["arms"] if arm["data"] == "subset"]
    assert accuracies["mean"][0] == pytest.approx(arm["test_accuracy"])


def test_scores_are_null_outside_the_training_split(finished):
    store, _ = finished
    rows = store.sql("SELECT split, count(*) AS n, count(el2n) AS scored FROM scored.digits GROUP BY split")
    for split, n, scored in rows.iter_rows():
        assert scored == (n if split == "train" else 0)


def test_noise_is_planted_where_labels_are_learnt_and_chosen_by_and_never_in_the_test_split(finished):
    store, _ = finished
    rows = store.sql(
        "SELECT split, count(*) FILTER (label <> clean_label) AS wrong "
        "FROM dataset.digits GROUP BY split ORDER BY split"
    )
    assert rows["split"].to_list() == ["test", "train", "validation"]
    assert rows["wrong"][0] == 0
    assert rows["wrong"][1] > 100
    assert rows["wrong"][2] > 10


def test_nothing_but_the_report_depends_on_clean_labels(finished, tmp_path, monkeypatch):
    store, outcome = finished
    from storage.dataset import Dataset

    def hidden(self: Dataset, split: str) -> None:
        raise AssertionError("clean labels were read")

    other = Store.create(tmp_path)
    monkeypatch.setattr(Dataset, "clean_labels", hidden)
    plan = plan_run(small_recipe(), other)
    for step in plan.steps[:-1]:
        run_step(other, step, None, show_nothing)
    with pytest.raises(AssertionError, match="clean labels were read"):
        run_step(other, plan.report, None, show_nothing)
    for step in plan.steps[:-1]:
        mine, theirs = other.record(step.id), store.record(step.id)
        assert [file.sha256 for file in mine.table("selection") + mine.table("scores")] == [
            file.sha256 for file in theirs.table("selection") + theirs.table("scores")
        ]
    assert outcome.report == plan.report.id


def test_the_same_recipe_gives_the_same_numbers_in_another_store(finished, tmp_path):
    store, outcome = finished
    other = Store.create(tmp_path)
    again = curate_and_train(other, small_recipe(), show_nothing)
    assert again.report == outcome.report
    assert report_numbers(other, again.report) == report_numbers(store, outcome.report)


def test_an_interrupted_training_carries_on_to_the_same_bytes(finished, tmp_path, monkeypatch):
    store, _ = finished
    monkeypatch.setenv("TAMIS_CHECKPOINT_MINUTES", "0")
    other = Store.create(tmp_path)
    plan = plan_run(small_recipe(), other)
    elr = next(step for step in plan.steps if step.title == "train elr on everything, seed 1 of 2")
    for step in plan.steps[: plan.steps.index(elr)]:
        if step.module in ("ingest_examples", "plant_noise"):
            run_step(other, step, None, show_nothing)

    class InterruptionError(Exception):
        pass

    def interrupt(step, progress):
        if progress is not None and progress.done == 2:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        run_step(other, elr, None, interrupt)
    assert not other.has(elr.id)
    assert other.checkpoints.load(elr.id) is not None
    epochs = []
    run_step(other, elr, None, lambda _, progress: epochs.append(progress.done) if progress else None)
    assert epochs == [0, 3]
    assert other.checkpoints.load(elr.id) is None
    for table in ("signals", "model"):
        assert [file.sha256 for file in other.record(elr.id).table(table)] == [
            file.sha256 for file in store.record(elr.id).table(table)
        ]
    assert other.table(elr.id, "epochs").height == 3


def test_a_killed_run_carries_on_and_ends_with_the_same_numbers(finished, tmp_path):
    store, outcome = finished
    command = [sys.executable, "-m", "flows.cli", "run", "digits", "--no-prefect", "--store", str(tmp_path / "s")]
    for override in SMALL:
        command += ["--set", override]
    for trainings in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((tmp_path / "s" / "artifacts").glob("training-*/record.json"))) >= trainings:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "reused" in ended.stdout
    other = Store.open(tmp_path / "s")
    assert report_numbers(other, outcome.report) == report_numbers(store, outcome.report)


def test_unchanged_subsets_keep_their_version_and_changed_ones_get_the_next(finished, tmp_path):
    store = Store.create(tmp_path)
    recipe = small_recipe("arms=[]")
    curate_and_train(store, recipe, show_nothing)
    curate_and_train(store, recipe, show_nothing)
    assert [str(one) for one in store.versions("subset", "digits-clean")] == ["digits-clean@1"]
    curate_and_train(store, replace(recipe, seed=5), show_nothing)
    assert [str(one) for one in store.versions("subset", "digits-clean")] == ["digits-clean@1", "digits-clean@2"]


def test_earlier_score_columns_of_the_same_data_stay_in_view(tmp_path):
    store = Store.create(tmp_path)
    only = "scorers={el2n={method='el2n', signals='plain', epoch=3}}"
    other = "scorers={early={method='el2n', signals='plain', epoch=1}}"
    rest = ("arms=[]", "selection={subset='all', method='everything'}")
    curate_and_train(store, small_recipe(only, *rest), show_nothing)
    curate_and_train(store, small_recipe(other, *rest), show_nothing)
    newest = store.sql("SELECT * FROM scored.digits LIMIT 1").columns
    assert {"el2n", "early"} <= set(newest)
    assert "early" not in store.sql('SELECT * FROM scored."digits@1" LIMIT 1').columns


def test_a_table_of_numbers_and_categories_runs_too(tmp_path):
    rng = np.random.default_rng(0)
    size = 300
    labels = rng.integers(0, 2, size)
    pl.DataFrame(
        {
            "row": [f"r{place}" for place in range(size)],
            "height": labels + rng.normal(0, 0.3, size),
            "colour": np.where(labels == 1, "red", rng.choice(["blue", "green"], size)),
            "answer": np.where(labels == 1, "yes", "no"),
            "remark": ["seen"] * size,
        }
    ).write_csv(tmp_path / "table.csv")
    recipe = small_recipe(
        f"source.location={tmp_path / 'table.csv'}",
        "name=table",
        "columns={features=['height', 'colour'], label='answer', key='row'}",
        "model={method='mlp'}",
        "training.epochs=8",
        "learners.plain.record={logits=[1, 3], train_logits='every'}",
    )
    store = Store.create(tmp_path / "store")
    report = store.record(curate_and_train(store, recipe, show_nothing).report).meta
    assert all(arm["test_accuracy"] > 0.8 for arm in report["arms"])
    assert store.sql("SELECT remark FROM scored.table LIMIT 1")["remark"][0] == "seen"


def test_a_limit_draws_training_examples_and_leaves_other_splits_whole(tmp_path):
    store = Store.create(tmp_path)
    recipe = small_recipe("limit=200", "arms=[]", "scorers={}", "selection={subset='s', method='everything'}")
    curate_and_train(store, recipe, show_nothing)
    sizes = dict(store.sql("SELECT split, count(*) AS n FROM dataset.digits GROUP BY split").iter_rows())
    assert sizes["train"] == 200
    assert sizes["test"] > 400
    with pytest.raises(ValueError, match="limit is 5000, but the training split has only"):
        curate_and_train(store, small_recipe("limit=5000"), show_nothing)


def test_a_run_in_which_every_label_is_wrong_still_ends_with_a_report(tmp_path):
    store = Store.create(tmp_path)
    recipe = small_recipe(
        "noise.rate=1.0", "seeds=1", "training.epochs=3", "selection={subset='s', method='everything'}"
    )
    report = store.record(curate_and_train(store, recipe, show_nothing).report).meta
    assert report["noise"]["realised_rate"] == 1
    assert report["detection"] == []
