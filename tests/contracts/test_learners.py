import json
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest
import safetensors.numpy
import torch

from learners.attacks import Attack
from learners.checkpoint import Checkpoint, save_state
from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.learner import Learner
from learners.methods.elr import ELR
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.signals import Recorder
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples
from tests.contracts.discovery import implementations

LEARNERS = implementations("learners.methods", Learner)
EPOCHS = 4

NO_CHANCE = {
    "aaer": {"start_range": 0.0},
    "dro_irat": {"attack": Attack(start="zero")},
    "elr_plus": {"mixup_alpha": 0.0},
    "gairat": {"attack": Attack(start="zero")},
    "pgd_training": {"attack": Attack(start="zero")},
    "trades": {"attack": Attack(epsilon=0.0, start="zero")},
}
"""Settings without draws, for learners whose draws belong to places in a batch."""

LABELS = torch.tensor([0, 2, 1])
SOFT = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.3, 0.3, 0.4]], dtype=torch.float64)
OTHER = torch.tensor([[0.5, -1.0, 0.2], [-1.5, 0.3, 0.9], [0.1, 1.2, -0.4]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)

LOSSES = {
    "aaer": None,  # the usual move is held constant: tests/learners/test_aaer.py
    "co_teaching": lambda losses, logits: losses(logits, LABELS),
    "cvar_dro": lambda losses, logits: losses(logits, LABELS),
    "elr": None,  # the target moves with the prediction and is held constant: tests/learners/test_elr.py
    "elr_plus": lambda losses, logits: losses(logits, SOFT, 0.5 * SOFT, lam=3.0),
    "erm": lambda losses, logits: losses(logits, LABELS),
    "gairat": lambda losses, logits: losses(logits, LABELS, WEIGHTS),
    "gce": lambda losses, logits: losses(logits, LABELS, q=0.7),
    "group_dro": lambda losses, logits: losses(logits, LABELS),
    "label_smoothing": lambda losses, logits: losses(logits, LABELS, smoothing=0.1),
    "pgd_training": lambda losses, logits: losses(logits, LABELS),
    "ps_kd": lambda losses, logits: losses(logits, LABELS, SOFT, share=0.4),
    "ps_kd_forward": lambda losses, logits: losses(logits, LABELS, SOFT, share=0.4),
    "trades": lambda losses, logits: losses(logits, OTHER + 0.5 * logits, LABELS, beta=6.0),
    "dro_irat": None,  # cross entropy with constant weights: tests/learners/test_dro_irat.py
}
"""How to call each learner's `<name>_losses` on (3, 3) logits; None where another test checks its gradient."""

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


def name_of(learner):
    return learner.__module__.rpartition(".")[2]


def everything(learner):
    learner = learner.func if isinstance(learner, partial) else learner
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
def test_soft_labels_with_all_mass_on_one_class_train_as_labels_bit_for_bit(learner):
    examples = separable()
    soft = replace(examples, soft_labels=np.eye(3, dtype=np.float32)[examples.labels])
    hard, drawn = (save_state(list(start(learner, one, epochs=2))[-1].state).arrays for one in (examples, soft))
    assert hard.keys() == drawn.keys()
    for name, array in hard.items():
        np.testing.assert_array_equal(array, drawn[name], err_msg=name)


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
    steady = partial(learner, **NO_CHANCE.get(name_of(learner), {}))
    for given in (examples, permuted):
        recorder = everything(steady)
        list(start(steady, given, recorder=recorder, batch_size=90))
        found.append(recorder.result().arrays)
    for name in found[0]:
        np.testing.assert_allclose(found[0][name][order], found[1][name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_every_learner_has_its_loss_checked():
    assert sorted(LOSSES) == sorted(name_of(learner) for learner in LEARNERS)


@pytest.mark.parametrize("name", [name for name, call in LOSSES.items() if call])
def test_the_gradient_of_a_loss_equals_finite_differences(name):
    losses = getattr(import_module(f"learners.methods.{name}"), f"{name}_losses")
    logits = torch.tensor(
        [[1.0, 0.5, -0.5], [0.3, -1.2, 0.1], [-0.2, 0.4, 2.0]], dtype=torch.float64, requires_grad=True
    )
    assert LOSSES[name](losses, logits).shape == (3,)
    assert torch.autograd.gradcheck(lambda values: LOSSES[name](losses, values), logits)


def bright_halves(source="image"):
    """Noisy images with a bright upper or lower half, in two groups."""
    rng = np.random.default_rng(5)
    labels = np.arange(24) % 2
    images = rng.integers(0, 60, size=(24, 8, 8))
    images[labels == 0, :4] += 150
    images[labels == 1, 4:] += 150
    return Examples(
        index=ExampleIndex(f"{source}:{row}" for row in range(24)),
        inputs=images.astype(np.uint8),
        labels=labels.astype(np.int64),
        classes=("top", "bottom"),
        groups=(np.arange(24) // 2 % 2).astype(np.int64),
    )


def on_images(learner, resume=None, validation=None, **settings):
    training = Training(epochs=3, batch_size=7, **settings)
    model = SmallCNN(width=2, hidden=4)
    return fit(learner(), bright_halves(), model=model, training=training, seed=1, resume=resume, validation=validation)


def assert_resumes_from_written_bytes(learner, **settings):
    whole = save_state(list(on_images(learner, **settings))[-1].state)
    run = on_images(learner, **settings)
    checkpoint = save_state(next(run).state)
    run.close()
    read = Checkpoint(
        arrays=safetensors.numpy.load(safetensors.numpy.save(dict(checkpoint.arrays))),
        facts=json.loads(json.dumps(checkpoint.facts)),
    )
    parts = save_state(list(on_images(learner, read, **settings))[-1].state)
    assert parts.arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, parts.arrays[name], err_msg=name)
    assert json.dumps(parts.facts) == json.dumps(whole.facts)


@every_learner
def test_a_network_with_batch_statistics_resumes_from_written_bytes_bit_for_bit(learner):
    assert_resumes_from_written_bytes(learner)


TOGETHER = {
    "optimizer": "sam",
    "schedule": "step",
    "warm_up": 0.2,
    "gradient_accumulation": 2,
    "clip_norm": 1.0,
    "ema": 0.9,
    "class_weights": "effective_number",
    "augment": ("crop", "flip", "cutout"),
    "buffers": "float16",
}


@every_learner
def test_everything_that_training_can_do_at_once_resumes_bit_for_bit(learner):
    assert_resumes_from_written_bytes(learner, validation=bright_halves("held"), **TOGETHER)


@pytest.mark.parametrize(
    "settings",
    [
        *({"optimizer": name} for name in ("adamw", "sam", "adamp", "sgdp")),
        *({"schedule": name} for name in ("constant", "one_cycle", "step")),
        {"precision": "bfloat16"},
        {"ema": 0.99},
        {"augment": ("crop",)},
    ],
    ids=lambda settings: "-".join(map(str, *settings.items())),
)
def test_each_setting_resumes_bit_for_bit(settings):
    assert_resumes_from_written_bytes(ELR, **settings)
