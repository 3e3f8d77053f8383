import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from learners.checkpoint import Checkpoint, load_model, save_state
from learners.evaluate import predict_logits
from learners.fit import fit
from learners.methods.elr import ELR
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.signals import Recorder
from learners.training import Training

CHOICE = {"logits": (1, 4), "train_logits": (2, 3), "elr_targets": (1, 3)}


def written_and_read(checkpoint):
    arrays = safetensors.numpy.load(safetensors.numpy.save(dict(checkpoint.arrays)))
    return Checkpoint(arrays=arrays, facts=json.loads(json.dumps(checkpoint.facts)))


def run_in_parts(examples, stops, *, model, learner=None, **settings):
    """Train up to each stop in turn, from a checkpoint that was written and read in between."""
    training = Training(epochs=4, batch_size=8, **settings)
    checkpoint = None
    for stop in stops:
        recorder = Recorder(CHOICE)
        run = fit(
            learner or ELR(),
            examples,
            model=model,
            training=training,
            seed=2,
            recorder=recorder,
            resume=checkpoint,
        )
        for report in run:
            if report.epoch == stop:
                break
        checkpoint = written_and_read(save_state(report.state, recorder))
    return checkpoint, recorder.result()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "constant"},
        {"momentum": 0.0, "steps_per_epoch": 7},
    ],
)
@pytest.mark.parametrize("stops", [(2, 4), (1, 2, 3, 4)])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(make_images, settings, stops):
    examples = make_images(num_examples=30)
    model = SmallCNN(width=4, hidden=8)
    unbroken, signals = run_in_parts(examples, (4,), model=model, **settings)
    resumed, resumed_signals = run_in_parts(examples, stops, model=model, **settings)
    assert resumed.arrays.keys() == unbroken.arrays.keys()
    for name, array in unbroken.arrays.items():
        np.testing.assert_array_equal(array, resumed.arrays[name], err_msg=name)
    assert resumed.facts == unbroken.facts
    for name, array in signals.arrays.items():
        np.testing.assert_array_equal(array, resumed_signals.arrays[name])


def test_a_finished_checkpoint_trains_no_further_and_still_gives_its_signals(make_table):
    examples = make_table()
    checkpoint, signals = run_in_parts(examples, (4,), model=MLP(widths=(8,)))
    again, same = run_in_parts_of_a_finished_run(examples, checkpoint)
    assert again == []
    np.testing.assert_array_equal(signals.arrays["logits"], same.arrays["logits"])


def run_in_parts_of_a_finished_run(examples, checkpoint):
    recorder = Recorder(CHOICE)
    training = Training(epochs=4, batch_size=8)
    run = fit(ELR(), examples, model=MLP(widths=(8,)), training=training, seed=2, recorder=recorder, resume=checkpoint)
    return list(run), recorder.result()


def test_later_training_does_not_change_a_checkpoint(make_table):
    run = fit(ELR(), make_table(), model=MLP(widths=(8,)), training=Training(epochs=2), seed=0)
    checkpoint = save_state(next(run).state)
    copies = {name: array.copy() for name, array in checkpoint.arrays.items()}
    next(run)
    for name, array in checkpoint.arrays.items():
        np.testing.assert_array_equal(array, copies[name])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"learner": ERM()}, "its learner is ELR"),
        ({"seed": 1}, "its seed is 0, this run's is 1"),
        ({"model": MLP(widths=(9,))}, r"its model is MLP\(widths=\(8,\)\)"),
        ({"training": Training(epochs=3)}, r"its training is Training\(epochs=2"),
        ({"recorder": Recorder({"logits": (2,)})}, "its record is {}"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(make_table, changed, named):
    settings = {"learner": ELR(), "model": MLP(widths=(8,)), "training": Training(epochs=2), "seed": 0}
    run = fit(examples=make_table(), **settings)
    checkpoint = save_state(next(run).state)
    with pytest.raises(ValueError, match=f"the checkpoint is of another run: {named}"):
        fit(examples=make_table(), **{**settings, **changed}, resume=checkpoint)


def test_a_checkpoint_of_other_examples_or_weights_is_refused(make_table):
    settings = {"learner": ERM(), "model": MLP(widths=(8,)), "training": Training(epochs=2), "seed": 0}
    checkpoint = save_state(next(fit(examples=make_table(), **settings)).state)
    weights = np.ones(60, np.float32)
    weights[0] = 2
    for other in (make_table(seed=1), make_table(weights=weights)):
        with pytest.raises(ValueError, match="another run: its examples is"):
            fit(examples=other, **settings, resume=checkpoint)


def test_a_network_rebuilt_from_a_checkpoint_gives_the_same_logits(make_images):
    examples, model = make_images(), SmallCNN(width=4, hidden=8)
    report = next(fit(ERM(), examples, model=model, training=Training(epochs=1, batch_size=8), seed=0))
    network = model.build(examples, seed=99)
    load_model(network, save_state(report.state).arrays)
    np.testing.assert_array_equal(predict_logits([network], examples), predict_logits(report.state.models, examples))


def test_weights_of_another_network_are_refused(make_table):
    report = next(fit(ERM(), make_table(), model=MLP(widths=(8,)), training=Training(epochs=1), seed=0))
    with pytest.raises(RuntimeError):
        load_model(nn.Linear(4, 3), save_state(report.state).arrays)
    assert torch.get_default_dtype() == torch.float32
