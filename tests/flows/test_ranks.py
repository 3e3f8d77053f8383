"""Two processes on the CPU make what one makes of the same recipe."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flows.config import load_recipe
from flows.curate_and_train import curate_and_train
from flows.ranks import called_ranks
from flows.step import run_step, show_nothing
from flows.train_learner import follow
from flows.train_on_subset import plan_training
from learners.distributed import Ranks
from storage.store import Store
from tests.flows.clouds import write_clouds

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe_path(tmp_path_factory):
    return write_clouds(tmp_path_factory.mktemp("clouds"))


@pytest.fixture(scope="module")
def alone(recipe_path, tmp_path_factory):
    """A store in which one process ran the recipe."""
    store = Store.create(tmp_path_factory.mktemp("alone") / "store")
    curate_and_train(store, load_recipe(str(recipe_path)), show_nothing)
    return store


def two_processes(*arguments: str, **environment: str) -> list[subprocess.Popen[str]]:
    """The command line in two processes that know of each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **shared, "RANK": rank, "LOCAL_RANK": rank, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]


def assert_close(one: Store, other: Store, training: str) -> None:
    """Both stores hold a training with the same models and signals to 1e-5."""
    weights, card = one.model(training)
    found, other_card = other.model(training)
    assert card == other_card
    assert weights.keys() == found.keys()
    for name, array in weights.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
    if one.record(training).table("signals"):
        names = one.record(training).meta["signals"]
        recorded, again = (store.signals([training], names, {}) for store in (one, other))
        for name in names:
            np.testing.assert_allclose(again[name], recorded[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_recipe_run_by_two_processes_makes_what_one_makes(recipe_path, alone, tmp_path):
    first, second = two_processes("run", str(recipe_path), "--no-prefect", "--store", str(tmp_path / "store"))
    out, err = first.communicate(timeout=400)
    assert (second.communicate(timeout=60), second.returncode) == (("", ""), 0), err
    assert first.returncode == 0, err
    assert "Test accuracy" in out
    together = Store.open(tmp_path / "store")
    assert together.artifacts.ids() == alone.artifacts.ids()
    trainings = [one for one in alone.artifacts.ids() if one.startswith("training-")]
    assert len(trainings) == 4
    for training in trainings:
        assert_close(alone, together, training)
    assert together.version("subset", "clean@1").artifact == alone.version("subset", "clean@1").artifact


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_the_same_command_carries_on(alone, tmp_path):
    shutil.copytree(alone.root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    settings = ("training.epochs=40", "training.learning_rate=0.01")
    training = plan_training(store, "clean@1", "elr", 1, settings)[0]
    command = ["train", "--subset", "clean@1", "--learner", "elr"]
    command += [word for one in settings for word in ("--set", one)]
    first, second = two_processes(*command, "--store", str(store.root), TAMIS_CHECKPOINT_MINUTES="0")
    deadline = time.monotonic() + 200
    while store.checkpoints.load(training.id) is None and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    second.kill()
    _, err = first.communicate(timeout=60)
    second.communicate()
    assert first.returncode == 1
    sentences = [line for line in err.splitlines() if line.startswith("tamis: ")]
    assert sentences == [
        "tamis: another process of this training has ended or cannot be reached; run the same command again to carry on"
    ]
    assert not store.has(training.id)
    assert store.checkpoints.load(training.id) is not None

    for process in two_processes(*command, "--store", str(store.root)):
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    unbroken = Store.create(tmp_path / "unbroken")
    shutil.copytree(alone.root / "artifacts", unbroken.root / "artifacts")
    run_step(unbroken, training, None, show_nothing)
    assert_close(unbroken, store, training.id)
    assert store.table(training.id, "epochs")["epoch"].to_list() == list(range(1, 41))
    assert store.checkpoints.load(training.id) is None


@pytest.mark.slow
def test_an_error_under_torchrun_is_one_sentence_and_ends_all(alone, tmp_path):
    shutil.copytree(alone.root, tmp_path / "store")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "flows.cli"]
    settings = ["--set", "training.learning_rate=1e30", "--set", "training.schedule=constant"]
    done = subprocess.run(
        [*torchrun, "train", "--subset", "clean@1", "--learner", "erm", "--store", str(tmp_path / "store"), *settings],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode != 0
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("tamis: ")]
    assert "the loss of learner ERM is not finite for " in sentence
    assert "first: 'clouds:r" in sentence


def test_outside_of_torchrun_nobody_is_called_to_a_training(alone):
    step = plan_training(alone, "clean@1", "elr", 1, [])[0]
    assert called_ranks(step, 0) is None


def test_a_process_that_sees_another_store_is_told_so(alone):
    request = plan_training(alone, "clean@1", "elr", 1, [])[0].request
    with pytest.raises(ValueError, match=r"rank 1 would carry on .* after epoch 0 and rank 0 after epoch 3; all"):
        follow(alone, request, Ranks(rank=1, world_size=2), 3)


def test_processes_of_steps_and_of_trainings_are_not_mixed(monkeypatch, capsys, tmp_path):
    from flows import cli

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    alone_in_group = {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
    for name, value in {**alone_in_group, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "digits", "--processes", "2", "--store", str(tmp_path / "store")])
    assert stop.value.code == 2
    assert "leave out --processes under torchrun" in capsys.readouterr().err
