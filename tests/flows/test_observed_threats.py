import numpy as np
import polars as pl
import pytest

from storage.store import Store
from tests.flows.tiny_world import made, split_recipe, split_rows

WORDS = "attack={epsilon=0.1, scales='deviation', lower='observed', upper='observed'}"


def test_a_tables_limits_are_those_of_its_training_split_and_are_kept_with_the_training(tmp_path):
    store = Store.create(tmp_path / "store")
    recipe = split_recipe(tmp_path, f"learners={{plain={{method='pgd_training', {WORDS}}}}}")
    (training,) = made(store, recipe, "train_learner")
    record = store.record(training)
    assert record.request.settings["learner"]["attack"]["lower"] == "observed"
    inputs = store.dataset(record.request.inputs["dataset"]).examples("train").inputs
    attack = record.meta["observed"]["attack"]
    np.testing.assert_array_equal(np.float32(attack["lower"]), inputs.min(axis=0))
    np.testing.assert_array_equal(np.float32(attack["upper"]), inputs.max(axis=0))
    np.testing.assert_allclose(attack["scales"], inputs.std(axis=0), rtol=1e-6)
    assert attack["epsilon"] == 0.1


def test_a_training_without_such_words_keeps_nothing_of_the_kind_and_wrong_words_are_refused_at_once(tmp_path):
    store = Store.create(tmp_path / "store")
    (training,) = made(store, split_recipe(tmp_path), "train_learner")
    assert "observed" not in store.record(training).meta
    wrong = WORDS.replace("deviation", "range")
    with pytest.raises(ValueError, match=r"learners\.plain\.attack\.scales: Invalid enum value 'range'"):
        made(store, split_recipe(tmp_path, f"learners={{plain={{method='pgd_training', {wrong}}}}}"), "train_learner")


def test_robust_accuracy_on_validation_rows_beyond_the_observed_bounds_is_measured(tmp_path):
    store = Store.create(tmp_path / "store")
    far = (pl.col("part") == "validation") & (pl.col("row") == "validation19")
    rows = split_rows().with_columns(pl.when(far).then(pl.lit(50.0)).otherwise(pl.col("x")).alias("x"))
    settings = (f"learners={{plain={{method='pgd_training', {WORDS}}}}}", "training.best_by='robust_accuracy'")
    (training,) = made(store, split_recipe(tmp_path, *settings, rows=rows), "train_learner")
    record = store.record(training)
    assert record.meta["observed"]["attack"]["upper"][0] < 2
    found = store.table(training, "epochs")["validation_robust_accuracy"]
    assert len(found) == 6
    assert record.meta["best_epoch"] == int(found.arg_max()) + 1
