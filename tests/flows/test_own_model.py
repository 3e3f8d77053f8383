import textwrap
from pathlib import Path

import pytest

from flows.curate_and_train import curate_and_train, finished_before
from flows.own_code import module_source
from flows.plan import plan_run
from flows.step import show_nothing
from storage.store import Store
from tests.flows.recipes import small_recipe

NETS = """
    from torch import nn


    def make(input_shape, num_classes):
        channels, height, width = input_shape
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, num_classes + {surplus}))
"""


def written(folder, package, surplus=0):
    place = Path(folder) / package
    place.mkdir()
    (place / "__init__.py").touch()
    (place / "nets.py").write_text(textwrap.dedent(NETS).format(surplus=surplus))
    return f"model.factory={package}.nets:make"


def test_a_recipe_trains_the_users_own_network_and_other_code_is_another_training(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    store = Store.create(tmp_path / "store")
    override = written(tmp_path, "own_model_one")
    recipe = small_recipe("seeds=1", override)
    assert finished_before(store, recipe) is None
    curate_and_train(store, recipe, show_nothing)
    training = next(step for step in plan_run(recipe, store).steps if step.request.kind == "training")
    described = training.request.settings["model"]
    assert described["factory"] == "own_model_one.nets:make"
    assert len(described["source"]) == 32
    arrays, card = store.model(training.id)
    assert card["model"] == described
    assert {array.shape for array in arrays.values()} == {(10, 64), (10,)}
    assert finished_before(store, recipe) is not None
    nets = tmp_path / "own_model_one" / "nets.py"
    nets.write_text(nets.read_text() + "# another network\n")
    assert finished_before(store, recipe) is None


def test_the_source_of_a_module_is_read_without_importing_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_code_that_fails.py").write_text("raise SystemExit")
    assert module_source("own_code_that_fails:make") == "raise SystemExit"
    for nowhere in ("no_such_module:make", "no_such.module:make", "", "math:sqrt", ".nets:make"):
        assert module_source(nowhere) == ""


def test_a_network_with_too_many_outputs_stops_the_run_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    override = written(tmp_path, "own_model_two", surplus=1)
    with pytest.raises(ValueError, match=r"own_model_two.nets:make must return logits of shape \(2, 10\)"):
        curate_and_train(Store.create(tmp_path / "store"), small_recipe("seeds=1", override), show_nothing)
