import os
import shutil
import subprocess
import sys
import time

import pytest

from flows.checkpoint_interval import SECONDS, checkpoint_seconds
from flows.config import load_recipe
from flows.curate_and_train import curate_and_train
from flows.step import run_step, show_nothing
from flows.train_on_subset import plan_training
from storage.store import Store
from tests.contracts.discovery import modules
from tests.flows.clouds import write_clouds

LEARNERS = sorted(module.__name__.rpartition(".")[2] for module in modules("learners.methods"))
NEEDED = {"group_dro": ("learners.group_dro={method='group_dro', groups='label'}",)}
"""What a learner cannot do without on these examples."""


@pytest.fixture(scope="module")
def subset(tmp_path_factory):
    """A store with a subset and no training."""
    folder = tmp_path_factory.mktemp("clouds")
    everything = "selection={subset='clean', method='everything'}"
    recipe = load_recipe(str(write_clouds(folder)), ("scorers={}", "arms=[]", everything))
    store = Store.create(folder / "store")
    curate_and_train(store, recipe, show_nothing)
    return store


def model_hashes(store: Store, training: str) -> list[tuple[str, str]]:
    return [(file.table, file.sha256) for file in store.record(training).files if file.table in ("model", "best")]


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_killed_training_carries_on_to_the_bytes_of_an_unbroken_one(learner, subset, tmp_path):
    for name in ("killed", "unbroken"):
        shutil.copytree(subset.root, tmp_path / name)
    killed, unbroken = Store.open(tmp_path / "killed"), Store.open(tmp_path / "unbroken")
    settings = ("training.epochs=40", "model.widths=[64]", *NEEDED.get(learner, ()))
    training = plan_training(unbroken, "clean@1", learner, 1, settings)[0]
    run_step(unbroken, training, None, show_nothing)

    command = [sys.executable, "-m", "flows.cli", "train", "--subset", "clean@1", "--learner", learner]
    command += [*("--store", str(killed.root)), *(word for one in settings for word in ("--set", one))]
    environment = {**os.environ, "TAMIS_CHECKPOINT_MINUTES": "0"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 120
    while killed.checkpoints.load(training.id) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not killed.has(training.id)
    left = killed.checkpoints.load(training.id)
    assert left is not None
    assert 1 <= left[1]["facts"]["epoch"] < 40

    subprocess.run(command, capture_output=True, check=True, timeout=200)
    assert model_hashes(killed, training.id) == model_hashes(unbroken, training.id)
    assert model_hashes(killed, training.id)
    assert killed.table(training.id, "epochs")["epoch"].to_list() == list(range(1, 41))


def test_checkpoints_are_as_far_apart_as_the_environment_says(monkeypatch):
    monkeypatch.delenv("TAMIS_CHECKPOINT_MINUTES", raising=False)
    assert checkpoint_seconds() == SECONDS == 20
    monkeypatch.setenv("TAMIS_CHECKPOINT_MINUTES", "0.5")
    assert checkpoint_seconds() == 30


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan", ""])
def test_a_time_between_checkpoints_that_is_none_is_told(text, monkeypatch):
    monkeypatch.setenv("TAMIS_CHECKPOINT_MINUTES", text)
    with pytest.raises(ValueError, match=f"TAMIS_CHECKPOINT_MINUTES must be a number of minutes, .* got '{text}'"):
        checkpoint_seconds()


def test_a_loss_that_is_not_finite_is_one_sentence_and_the_next_settings_work(subset, tmp_path, capsys):
    from flows import cli

    shutil.copytree(subset.root, tmp_path / "store")
    command = ["train", "--subset", "clean@1", "--learner", "erm", "--store", str(tmp_path / "store")]
    bad = ["--set", "training.learning_rate=1e30", "--set", "training.schedule=constant"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, *bad])
    out, err = capsys.readouterr()
    (sentence,) = [line for line in err.splitlines() if not line.startswith("[")]
    assert (stop.value.code, out) == (1, "")
    assert sentence.startswith("tamis: the loss of learner ERM is not finite for ")
    assert "(first: 'clouds:r" in sentence
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    assert stop.value.code == 0
