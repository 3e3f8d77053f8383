from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.latent_space import LatentSpace
from flows.config import parse_recipe
from flows.curate_and_train import curate_and_train, finished_before
from flows.ingest_by_hand import append_location, ingest_location
from flows.predict_rows import predict_rows
from flows.reproduce_version import reproduce_version
from flows.resolve import embedder
from flows.step import show_nothing
from storage.ingest.source import Source
from storage.store import Store
from tests.flows.growing import COLUMNS, no_progress
from tests.flows.test_embed_examples import TRAINED, made, recipe_of, write_texts

LATENT = {"method": "latent_ngrams", "column": "text", "num_buckets": 512, "num_dimensions": 8}


def vectors(store: Store, reference: str) -> tuple[list[str], np.ndarray]:
    rows = store.dataset(reference).scan().sort("example_id").select("text", "embedding").collect()
    return rows["text"].to_list(), rows["embedding"].to_numpy()


def mapped(store: Store, reference: str, texts: list[str]) -> np.ndarray:
    """The texts through the map of an embedded data set."""
    space = LatentSpace.from_state(store.state(store.version("dataset", reference).artifact))
    return embedder(LATENT, "embedding").embedded(texts, space)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Store:
    """A store with texts, 50 more of which were appended, and the first ones embedded."""
    folder = tmp_path_factory.mktemp("fitted")
    store = Store.create(folder / "store")
    columns = {**COLUMNS, "features": ("text",), "text": ("text",), "label": "kind", "split": "part"}
    ingest_location(store, str(write_texts(folder / "one.parquet")), "raw", columns, no_progress)
    append_location(
        store, str(write_texts(folder / "two.parquet", first=400, num_texts=50)), "raw", columns, no_progress
    )
    made(store, {"name": "fitted", "dataset": "raw@1", "embedding": LATENT})
    return store


def test_what_was_fitted_is_kept_and_gives_every_split_its_embeddings(fitted):
    texts, embedding = vectors(fitted, "fitted@1")
    assert embedding.shape == (400, 8)
    np.testing.assert_array_equal(embedding, mapped(fitted, "fitted@1", texts))
    checks = list(reproduce_version(fitted, fitted.version("dataset", "fitted@1"), (), show_nothing))
    assert {check.difference for check in checks} == {None}


def test_appended_texts_go_through_a_map_that_is_named(fitted):
    recipe = {"name": "mapped", "embedding": {"method": "latent_ngrams", "column": "text", "map": "fitted@1"}}
    made(fitted, {**recipe, "dataset": "raw@1"})
    made(fitted, {**recipe, "dataset": "raw@2"})
    first, second = fitted.versions("dataset", "mapped")
    assert fitted.dataset("mapped@2").record.meta["computed"] == f"incremental from {first.artifact}"
    texts, embedding = vectors(fitted, second.artifact)
    assert len(texts) == 450
    np.testing.assert_array_equal(embedding, mapped(fitted, "fitted@1", texts))
    made(fitted, {"name": "again", "dataset": "raw@2", "embedding": {**recipe["embedding"], "map": "mapped@2"}})
    assert fitted.dataset("again").record.request == fitted.dataset("mapped@2").record.request


def test_a_finished_run_is_not_taken_for_one_through_a_newer_map(fitted):
    fit = {"name": "changing", "dataset": "raw@1", "embedding": {**LATENT, "seed": 2}}
    recipe = {"name": "through", "dataset": "raw@1", "embedding": {"method": "latent_ngrams", "column": "text"}}
    recipe["embedding"]["map"] = "changing"
    made(fitted, fit)
    curate_and_train(fitted, parse_recipe(recipe), show_nothing)
    assert finished_before(fitted, parse_recipe(recipe)) is not None
    made(fitted, {**fit, "embedding": {**LATENT, "seed": 3}})
    assert finished_before(fitted, parse_recipe(recipe)) is None


def test_without_a_map_all_is_fitted_anew(fitted):
    made(fitted, {"name": "anew", "dataset": "raw@1", "embedding": {**LATENT, "seed": 1}})
    made(fitted, {"name": "anew", "dataset": "raw@2", "embedding": {**LATENT, "seed": 1}})
    assert fitted.dataset("anew@2").record.meta["computed"] == "full"
    assert len(vectors(fitted, "anew@2")[0]) == 450


def test_a_model_predicts_texts_through_the_map_that_it_learnt_from(tmp_path: Path):
    store, path = Store.create(tmp_path / "store"), write_texts(tmp_path / "texts.parquet")
    curate_and_train(store, parse_recipe(recipe_of(path, **{**TRAINED, "embedding": LATENT})), show_nothing)
    more = write_texts(tmp_path / "more.parquet", seed=1, num_texts=60)
    said = pl.concat(predict_rows(store, "texts-plain", Source(location=str(more)), batch_size=64).parts)
    assert (said["predicted"] == pl.read_parquet(more)["kind"]).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"map": "fitted@1", "seed": 2}, "embedding.seed has no effect beside embedding.map"),
        ({"map": "raw@1"}, "embedding.map is raw@1, which was not embedded by latent_ngrams"),
        ({"num_dimensions": 40_000}, "num_dimensions must be below num_buckets 32768, got 40000"),
        ({"most_fitted": 0}, "most_fitted must be at least 1, got 0"),
        ({"method": "hashed_ngrams", "map": "fitted@1"}, "unknown key 'map' in embedding"),
    ],
)
def test_what_cannot_be_fitted_or_mapped_is_refused(fitted, change, message):
    settings = {"method": "latent_ngrams", "column": "text", **change}
    with pytest.raises(ValueError, match=message):
        made(fitted, {"name": "other", "dataset": "raw@1", "embedding": settings})
