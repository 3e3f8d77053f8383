import json
import shutil

import numpy as np
import pytest

from flows.curate_and_train import curate_and_train, finished_before
from flows.plan import plan_run
from flows.reproduce_version import reproduce_version
from flows.step import show_nothing
from learners.stored import load_networks, predicted_logits
from storage.errors import CorruptError, NotFoundError
from storage.fsck import check_store
from storage.store import Store
from storage.sweep import Sweep
from tests.flows.commands import tamis
from tests.flows.weather import recipe, world


@pytest.fixture
def own(trained, tmp_path):
    """A copy of that store, for tests that change it."""
    shutil.copytree(trained[0].location, tmp_path / "store")
    return Store.open(tmp_path / "store")


def test_a_run_publishes_the_first_seeds_model_of_each_arm_and_an_equal_run_nothing(trained):
    store, location = trained
    assert store.names("model") == ["dry-plain", "weather-plain"]
    plan = plan_run(recipe(location), store)
    first = next(step for step in plan.steps if step.request.kind == "training")
    _, card = store.model("weather-plain@1")
    assert card["training"] == first.id
    assert card["seed"] == first.request.seed
    assert (card["trained_on"], store.model("dry-plain")[1]["trained_on"]) == ("weather@1", "dry@1")
    assert finished_before(store, recipe(location)) is not None
    outcome = curate_and_train(store, recipe(location), show_nothing)
    assert outcome.computed == 0
    assert [len(store.versions("model", name)) for name in store.names("model")] == [1, 1]


def test_a_recipe_without_arms_publishes_no_model(trained):
    store, location = trained
    steps = plan_run(recipe(location, arms=[]), store).steps
    assert "model" not in [step.request.kind for step in steps]


def test_weights_are_shared_with_the_training_and_not_copied(trained):
    store, _ = trained
    record = store.record(store.version("model", "weather-plain").artifact)
    training = store.record(record.request.inputs["training"])
    assert record.files == (*training.table("model"), *training.table("best"))
    assert [one.table for one in record.files] == ["model", "best"]


def test_weights_and_card_alone_give_the_network_that_was_evaluated(trained):
    store, _ = trained
    for epoch, table in (("last", "predictions"), ("best", "best_predictions")):
        weights, card = store.model("weather-plain@1", epoch)
        examples = store.dataset("weather").examples("test")
        logits = predicted_logits(load_networks(weights, json.loads(json.dumps(card))), examples.inputs)
        stored = store.table(card["evaluation"], table)["logits"].to_numpy()
        np.testing.assert_array_equal(logits, stored)
    assert card["input_shape"] == [5]
    assert card["classes"] == ["cold", "hot"]
    assert card["metrics"] == card["best_metrics"]


def test_two_arms_that_would_publish_under_one_name_are_refused(trained):
    store, location = trained
    with pytest.raises(ValueError, match="two arms would publish a model named 'weather-plain'; rename"):
        plan_run(recipe(location, selection={"subset": "weather", "method": "random", "fraction": 0.5}), store)
    odd = {"my plain": {"method": "erm"}}
    with pytest.raises(ValueError, match="the model of learner 'my plain' on 'weather' has no good name"):
        plan_run(recipe(location, learners=odd, arms=[{"learner": "my plain", "data": "everything"}]), store)


def test_a_later_model_of_the_same_name_takes_nothing_from_the_run(own):
    other = own.record(own.version("model", "weather-plain").artifact).id
    before = swept_artifacts(own)
    own.publish("model", "dry-plain", other)
    assert swept_artifacts(own) == before


def swept_artifacts(store: Store) -> list[str]:
    return [one.path for one in Sweep(store.files, grace_seconds=0).find() if one.what == "artifact"]


def test_garbage_collection_keeps_what_a_model_needs_and_fsck_checks_it(own):
    store = own
    store.files.remove("runs")
    list(Sweep(store.files, grace_seconds=0).remove())
    assert len(load_networks(*store.model("dry-plain@1"))) == 1
    assert not list(check_store(store.files))
    record = store.record(store.version("model", "dry-plain").artifact)
    store.files.locate(record.files[0].path).write_bytes(b"x" * record.files[0].size_bytes)
    damaged = [str(one) for one in check_store(store.files)]
    assert any(record.id in one and "other content" in one for one in damaged)
    store.files.remove("versions/model/dry-plain")
    store.publish("model", "other", store.record(record.request.inputs["training"]).id)
    swept = [one.path for one in Sweep(store.files, grace_seconds=0).find() if one.what == "artifact"]
    assert f"artifacts/{record.id}" in swept


@pytest.mark.parametrize("damage", [lambda data: data[:-4], lambda data: data[:-4] + b"\0\0\0\1", lambda _: b""])
def test_a_damaged_weight_file_is_one_sentence(own, trained, capsys, damage):
    store = own
    record = store.record(store.version("model", "dry-plain").artifact)
    place = store.files.locate(record.table("model")[0].path)
    place.write_bytes(damage(place.read_bytes()))
    with pytest.raises(CorruptError, match="`tamis fsck` says what to do"):
        store.model("dry-plain@1")
    code, out, err = tamis("predict", "dry-plain", str(trained[1]), "--store", store.location, capsys=capsys)
    assert (code, out, len(err.splitlines())) == (1, "", 1)


def test_a_name_that_cannot_be_published_is_refused_before_there_is_any_work(own, capsys, monkeypatch):
    store = own
    monkeypatch.setenv("TAMIS_STORE", store.location)
    store.tag("model", "live", "weather-plain@1")
    before = store.artifacts.ids()
    train = ("train", "--subset", "dry@1", "--learner", "plain", "--set", "training.epochs=1")
    for name, sentence in (("live", "'live' is a tag, now of weather-plain@1"), ("", "'' cannot be a name")):
        code, out, err = tamis(*train, "--name", name, capsys=capsys)
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert sentence in err
    assert store.artifacts.ids() == before


def test_unknown_models_and_missing_best_epochs_say_what_there_is(trained, tmp_path):
    store, _ = trained
    with pytest.raises(
        NotFoundError, match=r"no model named 'weather-plian'; did you mean 'weather-plain'\? the store"
    ):
        store.model("weather-plian@1")
    with pytest.raises(NotFoundError, match="has no version 7; it has weather-plain@1"):
        store.model("weather-plain@7")
    world().write_csv(tmp_path / "w.csv")
    bare = Store.create(tmp_path / "bare")
    curate_and_train(
        bare, recipe(tmp_path / "w.csv", seeds=1, splits={"train": 0.7, "validation": 0, "test": 0.3}), show_nothing
    )
    assert bare.model("weather-plain")[1]["temperature"] is None
    with pytest.raises(NotFoundError, match="has no model of the best epoch"):
        bare.model("weather-plain", "best")


def test_a_card_that_fits_no_network_is_one_sentence(trained):
    weights, card = trained[0].model("weather-plain")
    with pytest.raises(ValueError, match="lacks 'input_shape'"):
        load_networks(weights, {**card, "input_shape": None})
    with pytest.raises(ValueError, match="the weights do not fit the model 'mlp' of 3 classes and inputs of shape"):
        load_networks(weights, {**card, "classes": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="there is no model 'os' any more; there are"):
        load_networks(weights, {**card, "model": {"method": "os"}})
    with pytest.raises(ValueError, match="'mlp' has no setting 'depth' any more"):
        load_networks(weights, {**card, "model": {"method": "mlp", "depth": 2}})
    with pytest.raises(ValueError, match="the model has no weights"):
        load_networks({}, card)


def test_a_model_is_reproduced_shown_logged_tagged_and_queried(trained, tmp_path, capsys, monkeypatch):
    store, _ = trained
    monkeypatch.setenv("TAMIS_STORE", store.location)
    checks = list(reproduce_version(store, store.version("model", "dry-plain"), (), show_nothing))
    assert (checks[-1].artifact.partition("-")[0], checks[-1].difference) == ("model", None)
    code, out, _ = tamis("show", "weather-plain@1", capsys=capsys)
    assert code == 0
    assert "weather@1" in out
    assert "x (number), colour (category), wet (number)" in out
    assert "test_accuracy" in out
    assert "erm (mlp) trained on" in tamis("show", capsys=capsys)[1]
    assert "erm (mlp) trained on" in tamis("log", "weather-plain", capsys=capsys)[1]
    code, _, err = tamis("show", "weather-plain", "--recipe", capsys=capsys)
    assert (code, "--recipe has an effect on a version alone" in err) == (2, True)
    row = store.sql(
        "SELECT version, o.learner, model, num_classes, value FROM catalog.models AS o JOIN catalog.metrics AS m "
        "ON m.artifact = o.evaluation WHERE metric = 'test_accuracy' ORDER BY version DESC LIMIT 1"
    ).row(0)
    assert row == ("weather-plain@1", "erm", "mlp", 2, store.model("weather-plain")[1]["metrics"]["test_accuracy"])


def test_training_by_hand_publishes_under_the_subsets_name_or_the_one_given(own, capsys, monkeypatch):
    store = own
    monkeypatch.setenv("TAMIS_STORE", store.location)
    train = ("train", "--subset", "dry@1", "--learner", "plain")
    code, out, _ = tamis(*train, "--seeds", "2", capsys=capsys)
    assert code == 0
    assert "The first seed's model is dry-plain@1." in out
    assert len(store.versions("model", "dry-plain")) == 1
    assert "dry-plain@2" in tamis(*train, "--set", "training.epochs=1", capsys=capsys)[1]
    assert "test accuracy" in tamis("log", "dry-plain", capsys=capsys)[1]
    assert "mine@1" in tamis(*train, "--name", "mine", capsys=capsys)[1]
    assert store.version("model", "mine").artifact == store.version("model", "dry-plain@1").artifact
    assert tamis("tag", "dry-plain@1", "live", capsys=capsys)[1] == "model live is dry-plain@1\n"
    assert store.model("live")[1]["epoch"] == 2
