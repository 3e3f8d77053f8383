from dataclasses import dataclass

import numpy as np
import pytest
import torch

from learners.batch import Batch
from learners.evaluate import predict_logits
from learners.fit import fit
from learners.learner import Learner, StepReport
from learners.methods.elr import ELR
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.signals import Recorder
from learners.state import TrainState
from learners.training import Training


@dataclass(frozen=True, kw_only=True)
class Diary(Learner):
    """ELR that writes down every training-mode logit with its epoch, as slowly as can be."""

    inner: ELR
    entries: list
    gives = ("elr_targets",)

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        report = self.inner.step(state, batch)
        for position, logits in zip(batch.positions.tolist(), report.logits.tolist(), strict=True):
            self.entries.append((state.epoch + 1, position, logits))
        return report


@pytest.mark.parametrize("steps_per_epoch", [None, 9])
def test_every_signal_equals_a_slow_loop(make_images, steps_per_epoch):
    examples = make_images(num_examples=20)
    training = Training(epochs=4, batch_size=6, steps_per_epoch=steps_per_epoch)
    recorder = Recorder({"logits": (1, 3, 4), "train_logits": (2, 4), "elr_targets": (4, 1)})
    diary = Diary(inner=ELR(), entries=[])
    logits, targets = {}, {}
    for report in fit(diary, examples, model=SmallCNN(width=4, hidden=8), training=training, seed=0, recorder=recorder):
        logits[report.epoch] = predict_logits(report.state.models, examples)
        targets[report.epoch] = report.state.buffers["elr_targets"].numpy().copy()
    last_seen = {(epoch, position): values for epoch, position, values in diary.entries}
    recorded = recorder.result()
    assert recorded.epochs == {"logits": (1, 3, 4), "train_logits": (2, 4), "elr_targets": (1, 4)}
    assert recorded.visited.all()
    for name, array in recorded.arrays.items():
        assert array.shape == (20, len(recorded.epochs[name]), 2)
        assert array.dtype == np.float32
    for position in range(20):
        for place, epoch in enumerate((1, 3, 4)):
            np.testing.assert_array_equal(recorded.arrays["logits"][position, place], logits[epoch][position])
        for place, epoch in enumerate((2, 4)):
            seen = np.float32(last_seen[epoch, position])
            np.testing.assert_array_equal(recorded.arrays["train_logits"][position, place], seen)
        for place, epoch in enumerate((1, 4)):
            np.testing.assert_array_equal(recorded.arrays["elr_targets"][position, place], targets[epoch][position])


def test_recording_does_not_change_training(make_table):
    states = []
    for recorder in (None, Recorder({"logits": (1, 2), "train_logits": (1,), "elr_targets": (2,)})):
        run = fit(
            ELR(),
            make_table(),
            model=MLP(widths=(8,)),
            training=Training(epochs=2, batch_size=16),
            seed=0,
            recorder=recorder,
        )
        states.append(list(run)[-1].state)
    for one, other in zip(states[0].models[0].parameters(), states[1].models[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_rows_of_weight_0_have_logits_but_no_training_signals(make_table):
    weights = (np.arange(60) % 3 > 0).astype(np.float32)
    recorder = Recorder({"logits": (1,), "train_logits": (1,), "elr_targets": (1,)})
    examples = make_table(weights=weights)
    list(
        fit(
            ELR(),
            examples,
            model=MLP(widths=(8,)),
            training=Training(epochs=1, batch_size=16),
            seed=0,
            recorder=recorder,
        )
    )
    recorded = recorder.result()
    np.testing.assert_array_equal(recorded.visited, weights > 0)
    assert all(np.isfinite(array).all() for array in recorded.arrays.values())
    assert (recorded.arrays["logits"] != 0).all()
    for name in ("train_logits", "elr_targets"):
        assert (recorded.arrays[name][weights == 0] == 0).all()
        assert (recorded.arrays[name][weights > 0] != 0).all()


def test_train_logits_of_an_epoch_that_misses_kept_examples_are_refused(make_table):
    training = Training(epochs=1, batch_size=16, steps_per_epoch=2)
    recorder = Recorder({"train_logits": (1,)})
    run = fit(ERM(), make_table(), model=MLP(widths=(8,)), training=training, seed=0, recorder=recorder)
    with pytest.raises(ValueError, match="28 of 60 examples of weight above 0 were not visited"):
        list(run)


def started(make_table, choice, learner=None, epochs=3):
    recorder = Recorder(choice)
    run = fit(
        learner or ERM(),
        make_table(),
        model=MLP(widths=(8,)),
        training=Training(epochs=epochs, batch_size=16),
        seed=0,
        recorder=recorder,
    )
    return run, recorder


def test_an_unknown_signal_lists_what_the_learner_gives(make_table):
    with pytest.raises(
        ValueError, match=r"ERM does not give signal 'elr_targets'; it gives logits, .*, grad_norm, train_logits$"
    ):
        started(make_table, {"elr_targets": (1,)})
    with pytest.raises(ValueError, match=r"it gives logits, .*, train_logits, elr_targets$"):
        started(make_table, {"margins": (1,)}, learner=ELR())


def test_an_epoch_after_the_last_is_refused(make_table):
    with pytest.raises(ValueError, match="'logits' is to be recorded at epoch 4, but training has 3 epochs"):
        started(make_table, {"logits": (1, 4)})


@pytest.mark.parametrize("epochs", [(), (0, 1)])
def test_no_epochs_or_epoch_0_are_refused(epochs):
    with pytest.raises(ValueError, match="epochs of signal 'logits' must be at least 1"):
        Recorder({"logits": epochs})


def test_a_result_before_the_last_chosen_epoch_is_refused(make_table):
    run, recorder = started(make_table, {"logits": (1, 3)})
    next(run)
    with pytest.raises(ValueError, match="'logits' was not recorded at epoch 3 yet"):
        recorder.result()


def test_a_recorder_serves_one_run_only(make_table):
    _, recorder = started(make_table, {"logits": (1,)})
    with pytest.raises(ValueError, match="belongs to an earlier run"):
        fit(ERM(), make_table(), model=MLP(), training=Training(), seed=1, recorder=recorder)
