from pathlib import Path

import pytest

from flows.curate_and_train import Outcome, curate_and_train
from flows.step import show_nothing
from storage.store import Store
from tests.flows.recipes import small_recipe


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Store, Outcome]:
    """A store in which the small recipe has run once; tests must only read it."""
    store = Store.create(Path(tmp_path_factory.mktemp("finished")) / "store")
    return store, curate_and_train(store, small_recipe(), show_nothing)
