import json
import tempfile

import numpy as np
import pytest
import safetensors.numpy
import torch

from learners.checkpoint import Checkpoint, save_state
from learners.fit import fit
from learners.learner import Learner
from learners.models.mlp import MLP
from learners.signals import Recorder
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples
from tests.contracts.discovery import implementations

REMEMBERING = [learner for learner in implementations("learners.methods", Learner) if learner.gives]
every_learner = pytest.mark.parametrize("learner", REMEMBERING, ids=lambda learner: learner.__name__)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def held(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(learner, buffers_on, *, recorder=None, resume=None, **settings):
        training = Training(epochs=3, batch_size=16, buffers_on=buffers_on, **settings)
        model = MLP(widths=(8,))
        return fit(learner(), clouds(), model=model, training=training, seed=2, recorder=recorder, resume=resume)

    yield run
    assert [one.name for one in tmp_path.iterdir() if not one.name.startswith("torchinductor")] == []


def clouds():
    rng = np.random.default_rng(4)
    labels = np.arange(50) % 3
    return Examples(
        index=ExampleIndex(f"toy:{row}" for row in range(50)),
        inputs=(np.eye(3)[labels] + rng.normal(size=(50, 3))).astype(np.float32),
        labels=labels.astype(np.int64),
        classes=("a", "b", "c"),
        groups=(np.arange(50) // 3 % 2).astype(np.int64),
    )


def assert_same_bytes(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        assert array.tobytes() == other[name].tobytes(), name


@every_learner
@pytest.mark.parametrize("settings", [{}, {"buffers": "float16", "optimizer": "sam"}], ids=["plain", "float16-sam"])
def test_memories_on_disk_and_in_memory_train_to_the_same_bytes(held, learner, settings):
    found = []
    for buffers_on in ("memory", "disk"):
        recorder = Recorder(dict.fromkeys(("train_logits", *learner.gives), (1, 3)))
        state = list(held(learner, buffers_on, recorder=recorder, **settings))[-1].state
        assert state.buffers_on == buffers_on
        assert state.buffers.keys() >= set(learner.gives)
        found.append((save_state(state, recorder).arrays, recorder.result().arrays))
    for one, other in zip(*found, strict=True):
        assert_same_bytes(one, other)


@every_learner
def test_memories_on_disk_resume_from_written_bytes_bit_for_bit(held, learner):
    whole = save_state(list(held(learner, "disk"))[-1].state)
    run = held(learner, "disk")
    checkpoint = save_state(next(run).state)
    next(run)
    run.close()
    read = Checkpoint(
        arrays=safetensors.numpy.load(safetensors.numpy.save(dict(checkpoint.arrays))),
        facts=json.loads(json.dumps(checkpoint.facts)),
    )
    resumed = list(held(learner, "disk", resume=read))[-1].state
    assert_same_bytes(save_state(resumed).arrays, whole.arrays)
