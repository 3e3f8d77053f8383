from dataclasses import FrozenInstanceError, fields, is_dataclass

import numpy as np
import pytest
import torch

from learners.checkpoint import save_state
from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.learner import Learner
from learners.models.mlp import MLP
from learners.signals import Recorder
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples
from tests.contracts.discovery import implementations

LEARNERS = implementations("learners.methods", Learner)
EPOCHS = 4

every_learner = pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.__name__)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def separable(num_examples=90, weights=None):
    """Three Gaussian clouds, far apart; `weights` of 0 go to rows that no learner may read."""
    rng = np.random.default_rng(7)
    labels = np.arange(num_examples) % 3
    inputs = 4 * np.eye(3)[labels] + rng.normal(size=(num_examples, 3)) * 0.5
    return Examples(
        index=ExampleIndex(f"toy:{row}" for row in range(num_examples)),
        inputs=inputs.astype(np.float32),
        labels=labels.astype(np.int64),
        classes=("a", "b", "c"),
        weights=weights,
        groups=labels.astype(np.int64) % 2,
    )


def start(learner, examples, *, recorder=None, resume=None, batch_size=16, epochs=EPOCHS):
    training = Training(epochs=epochs, batch_size=batch_size)
    return fit(
        learner(), examples, model=MLP(widths=(16,)), training=training, seed=0, recorder=recorder, resume=resume
    )


def everything(learner):
    return Recorder({name: range(1, EPOCHS + 1) for name in ("logits", "train_logits", *learner.gives)})


@every_learner
def test_settings_are_a_frozen_dataclass_with_a_line_for_each(learner):
    assert is_dataclass(learner)
    instance = learner()
    for field in fields(learner):
        with pytest.raises(FrozenInstanceError):
            setattr(instance, field.name, None)
    assert learner.revision >= 1
    assert learner.num_models >= 1


@every_learner
def test_accuracy_rises_on_a_separable_toy(learner):
    examples = separable()
    found = [
        accuracy(predict_logits(report.state.models, examples), examples.labels)
        for report in start(learner, examples, epochs=15)
    ]
    assert found[-1] > 0.95
    assert found[-1] >= found[0]


@every_learner
def test_rows_of_weight_0_have_no_influence(learner):
    weights = np.ones(90, np.float32)
    weights[::5] = 0
    spoilt = separable(weights=weights)
    spoilt.inputs[::5] = 1e6
    clean = separable(weights=weights)
    states = [list(start(learner, examples))[-1].state for examples in (clean, spoilt)]
    for one, other in zip(*(state.models[0].parameters() for state in states), strict=True):
        assert torch.equal(one, other)
    for name in states[0].buffers:
        assert torch.equal(states[0].buffers[name], states[1].buffers[name])


@every_learner
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(learner):
    straight, resumed = everything(learner), everything(learner)
    whole = list(start(learner, separable(), recorder=straight))[-1]
    first = everything(learner)
    run = start(learner, separable(), recorder=first)
    next(run)
    checkpoint = save_state(next(run).state, first)
    run.close()
    parts = list(start(learner, separable(), recorder=resumed, resume=checkpoint))
    assert [report.epoch for report in parts] == [3, 4]
    one, other = save_state(whole.state, straight), save_state(parts[-1].state, resumed)
    assert one.facts == other.facts
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


@every_learner
def test_everything_a_learner_gives_is_recorded_finite_and_in_shape(learner):
    recorder = everything(learner)
    list(start(learner, separable(), recorder=recorder))
    for name, array in recorder.result().arrays.items():
        assert array.shape[:2] == (90, EPOCHS), name
        assert np.isfinite(array).all(), name


@every_learner
def test_permuting_examples_permutes_what_whole_batch_training_records(learner):
    order = np.random.default_rng(3).permutation(90)
    examples = separable()
    permuted = Examples(
        index=examples.index.take(order),
        inputs=examples.inputs[order],
        labels=examples.labels[order],
        classes=examples.classes,
        groups=examples.groups[order],
    )
    found = []
    for given in (examples, permuted):
        recorder = everything(learner)
        list(start(learner, given, recorder=recorder, batch_size=90))
        found.append(recorder.result().arrays)
    for name in found[0]:
        np.testing.assert_allclose(found[0][name][order], found[1][name], rtol=1e-3, atol=1e-4, err_msg=name)
