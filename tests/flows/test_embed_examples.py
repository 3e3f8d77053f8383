import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import resolve
from flows.config import load_recipe, parse_recipe
from flows.curate_and_train import curate_and_train
from flows.embed_examples import embedding_request
from flows.evaluate_model import evaluation_step
from flows.export_version import export_version
from flows.ingest_by_hand import append_location, ingest_location, relabel_examples
from flows.plan import plan_run
from flows.reproduce_version import reproduce_version
from flows.resolve import embedder
from flows.step import run_step, show_nothing
from learners import embed
from storage.errors import SourceError
from storage.index import ExampleIndex
from storage.schemas import SPLITS, Feature
from storage.store import Store
from tests.flows.growing import COLUMNS, no_progress
from tests.flows.test_export import read

VOCABULARIES = (
    ("goal", "match", "team", "coach", "league", "score", "player", "season"),
    ("stock", "market", "bank", "profit", "shares", "trade", "price", "quarter"),
)
"""Two worlds of words; a text speaks of one of them, with words of both worlds' everyday in between."""
PLAIN = ("the", "a", "of", "in", "on", "says", "new", "after")
HASHED = {"method": "hashed_ngrams", "column": "text", "num_dimensions": 64}


def write_texts(path: Path, first: int = 0, num_texts: int = 400, seed: int = 0) -> Path:
    rng = np.random.default_rng([seed, first])
    kinds = rng.integers(2, size=num_texts)
    texts = [" ".join(rng.permutation([*rng.choice(VOCABULARIES[kind], 4), *rng.choice(PLAIN, 6)])) for kind in kinds]
    rows = {
        "id": np.arange(first, first + num_texts),
        "text": texts,
        "kind": np.array(["sports", "money"])[kinds],
        "part": np.array(["train", "train", "train", "validation", "test"])[np.arange(num_texts) % 5],
        "size": np.arange(num_texts) / num_texts,
    }
    pl.DataFrame(rows).write_parquet(path)
    return path


def recipe_of(path: Path, **further: Any) -> dict[str, Any]:
    return {
        "name": "texts",
        "seeds": 1,
        "source": {"location": str(path)},
        "columns": {"features": ["text"], "text": ["text"], "label": "kind", "key": "id", "split": "part"},
        "embedding": HASHED,
        **further,
    }


TRAINED: Mapping[str, Any] = {
    "noise": {"method": "symmetric", "rate": 0.1},
    "model": {"method": "embedding_head"},
    "training": {"epochs": 3, "batch_size": 32, "optimizer": "adamw", "learning_rate": 0.01, "threads": 1},
    "learners": {"plain": {"method": "erm", "record": {"logits": "last"}}},
    "scorers": {"loss": {"method": "loss", "signals": "plain"}},
    "arms": [{"learner": "plain", "data": "everything"}],
}


def made(store: Store, raw: Mapping[str, Any]) -> list[str]:
    """Ids of the data sets that a recipe makes, in order."""
    steps = plan_run(parse_recipe(raw), store).steps
    datasets = [step for step in steps if step.request.kind == "dataset"]
    return [run_step(store, step, None, show_nothing) for step in datasets]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("texts")
    store = Store.create(folder / "store")
    curate_and_train(store, parse_recipe(recipe_of(write_texts(folder / "texts.parquet"), **TRAINED)), show_nothing)
    return store


def test_a_learner_tells_two_vocabularies_apart_after_three_epochs(trained):
    store = trained
    evaluation = next(one for one in store.artifacts.ids() if one.startswith("evaluation-"))
    assert store.table(evaluation, "predictions")["correct"].mean() > 0.9
    (found,) = store.sql("SELECT count(loss) AS scored, count(text) AS texts FROM scored.texts").rows()
    assert found == (240, 400)
    (found,) = store.sql("SELECT min(len(embedding)) AS d, count(text) AS texts FROM dataset.texts").rows()
    assert found == (64, 400)


def test_a_model_is_evaluated_on_texts_that_are_embedded_as_its_own_were_and_on_no_others(trained, tmp_path):
    shutil.copytree(trained.location, tmp_path / "store")
    store, path = Store.open(tmp_path / "store"), write_texts(tmp_path / "more.parquet", seed=1)
    for name, seed in (("alike", 0), ("otherwise", 3)):
        made(store, recipe_of(path, name=name, embedding={**HASHED, "seed": seed}))
    made(store, recipe_of(path, name="plain", embedding=None))

    def step(data: str):
        return evaluation_step(store, "texts-plain", data, split="test", epoch="last", attacks={})

    run_step(store, step("alike"), None, show_nothing)
    with pytest.raises(ValueError, match="of otherwise were made with seed 3, and the model reads those with seed 0"):
        step("otherwise")
    with pytest.raises(
        ValueError, match=r"plain lacks the features embedding, .*\[embedding\], method 'hashed_ngrams'"
    ):
        step("plain")


def test_rows_ids_splits_and_labels_stay_and_no_text_is_left_in_the_features(trained):
    after = trained.dataset("texts")
    before = trained.dataset(after.record.request.inputs["dataset"])
    assert after.schema.features == (Feature(name="embedding", kind="vector", shape=(64,)),)
    assert "text" in after.schema.metadata
    rows = after.scan().collect()
    assert rows.drop("embedding").equals(before.scan().collect())
    assert rows["label"].to_list() != rows["clean_label"].to_list()
    assert after.record.table("labels") == before.record.table("labels")
    for split in SPLITS:
        examples = after.examples(split)
        assert examples.index == before.index(split)
        assert examples.inputs.shape == (len(examples.index), 64)
        assert np.array_equal(examples.labels, before.labels(split))


@pytest.mark.parametrize("to", ["csv", "delta", "parquet", "webdataset", pytest.param("hf", marks=pytest.mark.slow)])
def test_an_export_holds_text_and_embedding(trained, tmp_path, to):
    export_version(trained, "texts@1", to=to, output=tmp_path / "out")
    found = read(to, tmp_path / "out").sort("example_id")
    rows = trained.dataset("texts").scan().sort("example_id").select("example_id", "text", "embedding").collect()
    assert found["text"].to_list() == rows["text"].to_list()
    vectors = found["embedding"].to_list()
    vectors = [json.loads(one) for one in vectors] if to == "csv" else vectors
    np.testing.assert_allclose(np.array(vectors), rows["embedding"].to_numpy(), rtol=1e-6)


def test_the_version_can_be_rebuilt_hash_by_hash(trained):
    checks = list(reproduce_version(trained, trained.version("dataset", "texts"), (), show_nothing))
    assert [check.difference for check in checks] == [None] * 3


def test_numbers_that_are_features_stay_beside_the_embedding(tmp_path):
    raw = recipe_of(write_texts(tmp_path / "texts.parquet"))
    raw["columns"] = {**raw["columns"], "features": ["text", "size"]}
    store = Store.create(tmp_path / "store")
    found = store.dataset(made(store, raw)[-1])
    inputs = found.examples("test").inputs
    assert [feature.name for feature in found.schema.features] == ["size", "embedding"]
    assert inputs.shape == (80, 65)
    np.testing.assert_allclose(inputs[:2, 0], [4 / 400, 9 / 400], rtol=1e-6)


TEXTS = st.lists(st.text(alphabet="ab c", max_size=12), min_size=1, max_size=8)


@given(texts=TEXTS)
@settings(deadline=None, max_examples=30)
def test_the_embedding_of_a_row_does_not_depend_on_other_rows(texts):
    method = embedder(HASHED, "embedding")

    def embedded(some: list[str]) -> np.ndarray:
        index = ExampleIndex(map(str, range(len(some))))
        return method(index, {"text": np.array(some, dtype=object)})["embedding"]

    together = embedded(texts)
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_array_equal(row, embedded([text])[0])


def grown(tmp_path: Path) -> tuple[Store, dict[str, Any]]:
    """A store with texts under a name of their own, embedded once and then appended to; and the recipe."""
    store = Store.create(tmp_path / "store")
    columns = {**COLUMNS, "features": ("text",), "text": ("text",), "label": "kind", "split": "part"}
    ingest_location(store, str(write_texts(tmp_path / "one.parquet")), "raw", columns, no_progress)
    raw = {"name": "texts", "dataset": "raw", "seeds": 1, "embedding": HASHED}
    made(store, raw)
    more = str(write_texts(tmp_path / "two.parquet", first=400, num_texts=50))
    append_location(store, more, "raw", columns, no_progress)
    return store, raw


def test_appended_texts_are_embedded_alone_and_as_a_full_run_would(tmp_path):
    store, raw = grown(tmp_path)
    (first,) = store.versions("dataset", "texts")
    made(store, raw)
    second = store.dataset("texts")
    assert len(second) == 450
    assert second.record.meta["computed"] == f"incremental from {first.artifact}"
    old = store.record(first.artifact).table("examples")
    assert second.record.table("examples")[: len(old)] == old
    checks = list(reproduce_version(store, store.version("dataset", "texts"), (), show_nothing))
    assert [check.difference for check in checks] == [None] * 3


def test_rows_are_not_appended_behind_embeddings(tmp_path):
    store = Store.create(tmp_path / "store")
    made(store, recipe_of(write_texts(tmp_path / "one.parquet")))
    more = str(write_texts(tmp_path / "two.parquet", first=400, num_texts=50))
    columns = {name: None if value is None else type(value)() for name, value in COLUMNS.items()}
    with pytest.raises(SourceError, match=r"has embeddings, which the rows of .* lack; store the text under a name"):
        append_location(store, more, "texts", columns, no_progress)


def test_corrected_labels_of_an_embedded_data_set_carry_on(tmp_path):
    store = Store.create(tmp_path / "store")
    raw = recipe_of(write_texts(tmp_path / "one.parquet"))
    made(store, raw)
    first = store.dataset("texts").scan().select("example_id", "label").head(1).collect()
    other = "money" if first["label"][0] == "sports" else "sports"
    (tmp_path / "fix.csv").write_text(f"example_id,label\n{first['example_id'][0]},{other}\n")
    relabel_examples(store, "texts", str(tmp_path / "fix.csv"), "me", "it is", no_progress)
    plan = plan_run(parse_recipe(raw), store)
    assert plan.grown == store.version("dataset", "texts").artifact
    assert store.dataset("texts").examples("test").inputs.shape == (80, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"embedding": {"method": "minhash", "column": "text"}},
            "'minhash'; there are hashed_ngrams, latent_ngrams, model2vec, sent",
        ),
        ({"embedding": {"method": "features"}}, "no embedder 'features'"),
        ({"embedding": {"method": "features_and_ngrams", "column": "text"}}, "no embedder 'features_and_ngrams'"),
        ({"embedding": {**HASHED, "column": "words"}}, "has no text column 'words'; it has text"),
        ({"embedding": {**HASHED, "colum": "text"}}, "unknown key 'colum' in embedding; did you mean 'column'"),
        ({"embedding": {**HASHED, "num_dimensions": 1}}, "num_dimensions must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_embedded_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        made(Store.create(tmp_path / "store"), recipe_of(write_texts(tmp_path / "one.parquet"), **change))


def test_an_embedded_data_set_is_not_embedded_again_nor_called_like_its_origin(tmp_path):
    store = Store.create(tmp_path / "store")
    made(store, recipe_of(write_texts(tmp_path / "one.parquet")))
    raw = {"name": "texts", "dataset": "texts", "embedding": HASHED}
    with pytest.raises(ValueError, match="name must not be 'texts': the embedded data set needs a name of its own"):
        made(store, raw)
    with pytest.raises(ValueError, match="has a column 'embedding' already"):
        made(store, {**raw, "name": "twice"})


def test_another_text_among_the_features_is_refused(tmp_path):
    raw = recipe_of(write_texts(tmp_path / "one.parquet"))
    raw["columns"] = {**raw["columns"], "label": None, "features": ["text", "kind"], "text": ["text", "kind"]}
    with pytest.raises(ValueError, match=r"features kind of .* would stay text, which no model reads"):
        made(Store.create(tmp_path / "store"), raw)


class Fake:
    """Stands for a network: the length of each text and a constant."""

    seen: list[list[str]]

    def __init__(self, name: str) -> None:
        if name == "gone":
            raise OSError("no such\nnetwork")
        self.seen = []

    from_pretrained = classmethod(lambda cls, name: cls(name))

    def encode(self, texts: list[str], *, batch_size: int, show_progress_bar: bool, **further: bool) -> Any:
        assert isinstance(texts, list)
        assert not show_progress_bar
        self.seen.append(texts)
        return np.array([[len(text), 1.0 if batch_size else 0.0] for text in texts], dtype=np.float16)


@pytest.fixture
def faked(monkeypatch) -> None:
    packages = {
        "model2vec": SimpleNamespace(StaticModel=Fake),
        "sentence_transformers": SimpleNamespace(SentenceTransformer=Fake),
    }
    monkeypatch.setattr(embed, "import_module", packages.__getitem__)


@pytest.mark.parametrize("method", ["model2vec", "sentence_transformers"])
def test_a_network_embeds_texts_in_their_order(tmp_path, faked, method):
    store = Store.create(tmp_path / "store")
    raw = recipe_of(write_texts(tmp_path / "one.parquet"), embedding={"method": method, "column": "text", "name": "x"})
    rows = store.dataset(made(store, raw)[-1]).scan().collect()
    assert rows.schema["embedding"] == pl.Array(pl.Float32, 2)
    assert rows["embedding"].arr.first().to_list() == [float(len(text)) for text in rows["text"]]


def test_a_package_that_is_not_there_and_a_network_that_is_not_there_are_told(faked, monkeypatch):
    method = embedder({"method": "model2vec", "column": "text", "name": "gone"}, "embedding")
    with pytest.raises(ValueError, match="the embedder 'gone' cannot be loaded: no such network"):
        method.load()

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(embed, "import_module", missing)
    with pytest.raises(ValueError, match=r"needs the package model2vec: pip install 'tamis\[embed\]'"):
        method.load()


@pytest.mark.parametrize("found", [[[1.0, float("nan")]], [1.0], [[1.0], [2.0]]])
def test_what_is_no_embedding_is_refused(faked, monkeypatch, found):
    monkeypatch.setattr(Fake, "encode", lambda self, texts, **further: found)
    encode = embedder({"method": "sentence_transformers", "column": "text", "name": "x"}, "embedding").load()
    with pytest.raises(ValueError, match=r"the embedder 'x' gave"):
        encode(["one"])


def test_the_settings_and_the_revision_make_the_id(monkeypatch, tmp_path):
    store = Store.create(tmp_path / "store")
    before = embedding_request(HASHED, "dataset-0", store)
    assert before.id != embedding_request({**HASHED, "num_dimensions": 65}, "dataset-0", store).id
    monkeypatch.setattr(resolve.method_class("examiner", "hashed_ngrams"), "revision", 9)
    assert before.id != embedding_request(HASHED, "dataset-0", store).id


def test_the_bundled_recipe_reads():
    recipe = load_recipe("ag_news")
    assert recipe.embedding is not None
    assert resolve.embedder(recipe.embedding, "embedding").column == "text"
