import shutil

import numpy as np
import polars as pl
import pytest

from flows.evaluate_model import evaluation_step
from flows.step import run_step, show_nothing
from storage import Roles, ingest_frame
from storage.errors import NotFoundError
from storage.store import Store
from tests.flows.commands import tamis
from tests.flows.weather import world

MODEL = "weather-plain@1"


@pytest.fixture(scope="module")
def further(trained, tmp_path_factory):
    """A copy of the store with two further data sets: new rows in another order, and strange ones."""
    place = tmp_path_factory.mktemp("further") / "store"
    shutil.copytree(trained[0].location, place)
    store = Store.open(place)
    roles = Roles(features=("wet", "colour", "x"), label="kind", key="id", split="split")
    frame = world(seed=2).with_columns(split=pl.lit("test")).select("wet", "kind", "colour", "id", "x", "split")
    ingest_frame(store, "newer", frame, roles=roles)
    ingest_frame(store, "milder", frame.with_columns(kind=pl.lit("mild")), roles=roles)
    few = Roles(features=("wet", "colour"), label="kind", key="id", split="split")
    ingest_frame(store, "fewer", frame, roles=few)
    other = frame.with_columns(colour=pl.col("x") * 2)
    ingest_frame(store, "other", other, roles=roles)
    ingest_frame(store, "pool", frame.drop("kind"), roles=Roles(features=("wet", "colour", "x"), key="id"))
    return store


def step(store, data, **asked):
    return evaluation_step(store, MODEL, data, **{"split": "test", "epoch": "last", "attacks": {}, **asked})


def test_on_its_own_test_split_a_model_has_the_metrics_of_its_training(trained, tmp_path):
    store = trained[0]
    for epoch, name in (("last", "metrics"), ("best", "best_metrics")):
        made = store.record(run_step(store, step(store, "weather", epoch=epoch), None, show_nothing))
        _, card = store.model(MODEL, epoch)
        assert made.meta[name] == pytest.approx(card["metrics"])


def test_another_data_set_is_read_as_the_model_reads_it(further):
    made = further.record(run_step(further, step(further, "newer"), None, show_nothing))
    table = further.table(made.id, "predictions")
    labels = dict(further.dataset("newer").scan().select("example_id", "label").collect().iter_rows())
    classes = further.model(MODEL)[1]["classes"]
    right = [labels[row["example_id"]] == classes[row["predicted"]] for row in table.iter_rows(named=True)]
    assert made.meta["metrics"]["test_accuracy"] == pytest.approx(np.mean(right))
    assert made.meta["metrics"]["test_accuracy"] > 0.8


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("milder", "milder has the classes mild, which the model does not know; it knows cold, hot"),
        ("fewer", "fewer lacks the features x, which the model reads"),
        ("other", "feature 'colour' of other is a number, and the model reads a category"),
        ("pool", "pool has no labels to evaluate by; `tamis predict` needs none"),
    ],
)
def test_a_data_set_that_does_not_fit_is_one_sentence(further, data, sentence):
    with pytest.raises(ValueError, match=sentence):
        step(further, data)


def test_an_empty_split_and_unknown_names_are_errors(further):
    with pytest.raises(ValueError, match="newer has no examples in the validation split"):
        step(further, "newer", split="validation")
    with pytest.raises(NotFoundError, match="no dataset named 'wether'; did you mean 'weather'"):
        step(further, "wether")


def test_the_command_prints_metrics_and_computes_nothing_twice(further, capsys, monkeypatch):
    monkeypatch.setenv("TAMIS_STORE", further.location)
    asked = (
        "evaluate",
        MODEL,
        "newer",
        "--attack",
        "fgsm",
        "--attack",
        "pgd_20",
        "--epsilon",
        "0.5",
        "--attacked",
        "20",
    )
    code, out, err = tamis(*asked, capsys=capsys)
    assert code == 0
    assert "weather-plain@1 on the test split of newer, 240 examples" in out
    assert "pgd_20_accuracy" in out
    assert "evaluate weather-plain@1" in err
    before = len(further.artifacts.ids())
    code, again, err = tamis(*asked, capsys=capsys)
    assert (code, again, err) == (0, out, "")
    assert len(further.artifacts.ids()) == before
    code, best, _ = tamis(*asked, "--epoch", "best", capsys=capsys)
    assert code == 0
    assert "best epoch" in best
    assert "fgsm_accuracy" in best


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--attack", "bim"), "attacks must be of fgsm, pgd_20"),
        (("--epsilon", "0.1"), "have no effect without --attack"),
        (("--attack", "fgsm", "--epsilon", "-1"), "epsilon must be at least 0"),
        (("--attack", "fgsm", "--attack", "fgsm"), "each attack once"),
    ],
)
def test_attacks_that_make_no_sense_are_one_sentence(further, capsys, monkeypatch, options, sentence):
    monkeypatch.setenv("TAMIS_STORE", further.location)
    code, _, err = tamis("evaluate", MODEL, "newer", *options, capsys=capsys)
    assert code != 0
    assert sentence in err
