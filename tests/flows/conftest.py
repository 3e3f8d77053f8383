from pathlib import Path

import pytest

from flows.curate_and_train import Outcome, curate_and_train
from flows.step import show_nothing
from storage.store import Store
from tests.flows.recipes import small_recipe
from tests.flows.weather import recipe, world


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Store, Outcome]:
    """A store in which the small recipe has run once; tests must only read it."""
    store = Store.create(Path(tmp_path_factory.mktemp("finished")) / "store")
    return store, curate_and_train(store, small_recipe(), show_nothing)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[Store, Path]:
    """A store in which the weather recipe has run, and the file that it read; tests must only read them."""
    place = tmp_path_factory.mktemp("weather")
    world().write_csv(place / "weather.csv")
    store = Store.create(place / "store")
    curate_and_train(store, recipe(place / "weather.csv"), show_nothing)
    return store, place / "weather.csv"
