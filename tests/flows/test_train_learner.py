import numpy as np
import pytest

from flows import resolve, train_learner
from flows.config import build
from flows.plan import plan_run
from flows.step import run_step, show_nothing
from learners.checkpoint import model_arrays
from learners.fit import fit
from learners.training import Training
from storage.errors import NotFoundError
from storage.store import Store
from tests.flows.tiny_world import made, noisy_recipe


def trained(store: Store, recipe):
    """The store's artifact of the recipe's one training, and that of its data set."""
    for step in plan_run(recipe, store).steps:
        if step.module in ("ingest_examples", "plant_noise"):
            dataset = run_step(store, step, None, show_nothing)
        if step.module == "train_learner":
            return store.record(run_step(store, step, None, show_nothing)), dataset
    raise AssertionError("the recipe trains nothing")


def test_last_and_best_epoch_are_both_kept_and_say_which_epochs_they_are(tmp_path):
    store = Store.create(tmp_path / "store")
    record, _ = trained(store, noisy_recipe(tmp_path))
    epochs = store.table(record.id, "epochs")
    best = record.meta["best_epoch"]
    assert best == int(epochs["validation_accuracy"].arg_max()) + 1
    last_arrays, last_card = store.model(record.id)
    best_arrays, best_card = store.model(record.id, "best")
    assert (last_card["epoch"], best_card["epoch"]) == (6, best)
    assert last_card["classes"] == ["no", "yes"]
    assert last_card["learner"]["method"] == "erm"
    assert best < 6
    assert any(not np.array_equal(last_arrays[name], best_arrays[name]) for name in last_arrays)


def test_validation_chooses_and_leaves_every_weight_as_it_would_be_without(tmp_path):
    store = Store.create(tmp_path / "store")
    record, dataset = trained(store, noisy_recipe(tmp_path))
    settings = record.request.settings
    reports = fit(
        resolve.method("learner", settings["learner"], "learner"),
        store.dataset(dataset).examples("train"),
        model=resolve.method("model", settings["model"], "model"),
        training=build(Training, settings["training"], "training"),
        seed=record.request.seed,
    )
    by_epoch = {report.epoch: model_arrays(report.state.models) for report in reports}
    for epoch in ("last", "best"):
        arrays, card = store.model(record.id, epoch)
        assert all(np.array_equal(arrays[name], by_epoch[card["epoch"]][name]) for name in arrays)


def test_without_a_validation_split_there_is_no_best_epoch(tmp_path):
    store = Store.create(tmp_path / "store")
    record, _ = trained(store, noisy_recipe(tmp_path, "splits={train=0.7, validation=0.0, test=0.3}"))
    assert "best_epoch" not in record.meta
    assert store.model(record.id)[1]["epoch"] == 6
    with pytest.raises(NotFoundError, match="has no model of the best epoch"):
        store.model(record.id, "best")


@pytest.mark.parametrize(("setting", "value"), [("early_stop", "2"), ("best_by", "'loss'")])
def test_choosing_an_epoch_without_a_validation_split_is_refused(tmp_path, setting, value):
    recipe = noisy_recipe(tmp_path, "splits={train=0.7, validation=0.0, test=0.3}", f"training.{setting}={value}")
    with pytest.raises(ValueError, match=f"training.{setting} needs a labelled validation split"):
        trained(Store.create(tmp_path / "store"), recipe)


class InterruptionError(Exception):
    pass


def interrupted(store: Store, recipe, after: int) -> str:
    """Stop the recipe's training after an epoch; its artifact's id."""
    for step in plan_run(recipe, store).steps:
        if step.module in ("ingest_examples", "plant_noise"):
            run_step(store, step, None, show_nothing)
        if step.module == "train_learner":
            break

    def interrupt(step, progress):
        if progress is not None and progress.done == after:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        run_step(store, step, None, interrupt)
    return step.id


@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interrupted_training_carries_on_to_the_same_last_and_best_model(tmp_path, monkeypatch, after):
    monkeypatch.setenv("TAMIS_CHECKPOINT_MINUTES", "0")
    recipe = noisy_recipe(tmp_path)
    whole, again = Store.create(tmp_path / "whole"), Store.create(tmp_path / "again")
    record, _ = trained(whole, recipe)
    assert interrupted(again, recipe, after) == record.id
    assert again.checkpoints.load(record.id) is not None
    resumed, _ = trained(again, recipe)
    for table in ("model", "best"):
        assert resumed.table(table)[0].sha256 == record.table(table)[0].sha256
    assert resumed.meta["best_epoch"] == record.meta["best_epoch"]


def test_a_training_that_stopped_early_and_was_killed_before_it_was_published_ends_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CHECKPOINT_MINUTES", "0")
    recipe = noisy_recipe(tmp_path, "training.early_stop=2", "training.epochs=30")
    whole, again = Store.create(tmp_path / "whole"), Store.create(tmp_path / "again")
    record, _ = trained(whole, recipe)
    last = whole.model(record.id)[1]["epoch"]
    assert last == record.meta["best_epoch"] + 2
    assert last < 30
    interrupted(again, recipe, last)
    resumed, _ = trained(again, recipe)
    assert [one.sha256 for one in resumed.table("model")] == [one.sha256 for one in record.table("model")]


@pytest.mark.parametrize(("setting", "steps"), [((), 4), (("training.steps_per_epoch=7",), 7)])
def test_a_subset_trains_for_as_many_steps_as_everything_also_where_a_recipe_sets_them(tmp_path, setting, steps):
    arms = "arms=[{learner='plain', data='everything'}, {learner='plain', data='subset'}]"
    half = "selection={subset='half', method='random', fraction=0.5}"
    recipe = noisy_recipe(tmp_path, arms, half, "training.epochs=1", *setting)
    store = Store.create(tmp_path / "store")
    for training in made(store, recipe, "train_learner"):
        task = train_learner._Task.of(store, store.record(training).request)
        (report,) = task.epochs(None, None)
        assert report.state.step == steps
