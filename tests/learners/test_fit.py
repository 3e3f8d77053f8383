from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from learners.batch import Batch
from learners.checkpoint import save_state
from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.learner import Learner, StepReport
from learners.methods.erm import ERM, erm_losses
from learners.model import Model
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.signals import Recorder
from learners.state import TrainState
from learners.training import Training
from storage.values import Examples

SMALL = MLP(widths=(8,))


@dataclass(frozen=True, kw_only=True)
class Watched(Learner):
    """Plain training that counts its visits and can be told to fail."""

    fail_at_step: int = -1

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        logits = state.models[0](batch.inputs)
        losses = erm_losses(logits, batch.labels)
        state.per_example("visits", width=1)[batch.positions] += 1
        state.per_example("seen_weight", width=1)[batch.positions, 0] = batch.weights
        state.descend(losses, batch.weights)
        seen = losses.detach().clone()
        if state.step == self.fail_at_step:
            seen[1:3] = float("nan")
        return StepReport(losses=seen, logits=logits.detach(), metrics={"rows": float(len(batch))})


@dataclass(frozen=True, kw_only=True)
class Pair(Learner):
    """Two networks trained side by side."""

    num_models = 2

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        for model, network in enumerate(state.models):
            logits = network(batch.inputs)
            losses = erm_losses(logits, batch.labels)
            state.descend(losses, batch.weights, model=model)
        return StepReport(losses=losses.detach(), logits=logits.detach())


@dataclass(frozen=True, kw_only=True)
class Dropping(Model):
    """A linear network with dropout, which draws from torch's generator at every step."""

    def build(self, examples: Examples, seed: int) -> nn.Module:
        inner = MLP(widths=()).build(examples, seed)
        return nn.Sequential(nn.Dropout(0.5), inner)


def last_report(learner, examples, **settings):
    chosen = {"model": SMALL, "training": Training(epochs=3, batch_size=16), "seed": 0, **settings}
    for report in fit(learner, examples, **chosen):
        last = report
    return last


def parameters(report):
    return [value for model in report.state.models for value in model.parameters()]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(parameters(one), parameters(other), strict=True))


def test_rows_of_weight_0_enter_no_batch_and_others_are_visited_once_an_epoch(make_table):
    weights = np.random.default_rng(0).choice([0, 0.5, 1, 2], size=60).astype(np.float32)
    report = last_report(Watched(), make_table(weights=weights))
    np.testing.assert_array_equal(report.state.buffers["visits"][:, 0], 3 * (weights > 0))
    np.testing.assert_array_equal(report.state.buffers["seen_weight"][:, 0], weights)
    assert report.num_visits == (weights > 0).sum()


def test_training_on_weights_equals_training_on_the_kept_rows_alone(make_table):
    full = make_table()
    keep = np.arange(60) % 4 != 0
    weighted = replace(full, weights=keep.astype(np.float32))
    alone = replace(
        full, index=full.index.take(np.flatnonzero(keep)), inputs=full.inputs[keep], labels=full.labels[keep]
    )
    assert equal(last_report(ERM(), weighted), last_report(ERM(), alone))


def test_weights_of_1_equal_no_weights_and_weights_of_2_twice_the_learning_rate(make_table):
    plain = Training(epochs=2, batch_size=16, momentum=0.0, weight_decay=0.0, learning_rate=0.05)
    one = last_report(ERM(), make_table(), training=plain)
    assert equal(one, last_report(ERM(), make_table(weights=np.ones(60, np.float32)), training=plain))
    heavy = last_report(ERM(), make_table(weights=np.full(60, 2, np.float32)), training=plain)
    faster = last_report(ERM(), make_table(), training=replace(plain, learning_rate=0.1))
    for a, b in zip(parameters(heavy), parameters(faster), strict=True):
        torch.testing.assert_close(a, b)


def test_steps_per_epoch_sets_the_number_of_steps_whatever_the_number_of_examples(make_table):
    training = Training(epochs=2, batch_size=16, steps_per_epoch=7)
    report = last_report(Watched(), make_table(num_examples=40), training=training)
    assert report.state.step == report.state.total_steps == 14
    # 40 rows make passes of 16 + 16 + 8; 14 steps are four passes and two full batches
    assert report.state.buffers["visits"].sum() == 4 * 40 + 32
    assert set(report.state.buffers["visits"].flatten().tolist()) <= {4.0, 5.0}
    assert report.state.schedulers[0].get_last_lr()[0] == pytest.approx(0, abs=1e-9)


def test_reports_count_epochs_from_1_and_average_metrics_over_examples(make_table):
    reports = list(
        fit(Watched(), make_table(num_examples=40), model=SMALL, training=Training(epochs=2, batch_size=16), seed=0)
    )
    assert [report.epoch for report in reports] == [1, 2]
    assert {report.epochs for report in reports} == {2}
    # batches of 16, 16 and 8 rows: (16 * 16 + 16 * 16 + 8 * 8) / 40
    assert reports[0].metrics["rows"] == pytest.approx(14.4)
    assert set(reports[0].metrics) == {"loss", "accuracy", "rows"}
    assert reports[0].metrics["loss"] > reports[1].metrics["loss"]


def test_a_loss_that_is_not_finite_stops_with_learner_epoch_step_and_examples(make_table):
    examples = make_table()
    run = fit(Watched(fail_at_step=5), examples, model=SMALL, training=Training(epochs=3, batch_size=16), seed=0)
    next(run)
    with pytest.raises(FloatingPointError) as caught:
        next(run)
    message = str(caught.value)
    assert "learner Watched is not finite for 2 of 16 examples at epoch 2, step 6" in message
    assert message.count("'toy:0-") == 2


def test_an_exploding_run_is_stopped(make_table):
    training = Training(epochs=50, batch_size=16, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="learner ERM is not finite"):
        list(fit(ERM(), make_table(), model=SMALL, training=training, seed=0))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(make_table):
    one, same, other = (last_report(ERM(), make_table(), model=Dropping(), seed=seed) for seed in (4, 4, 5))
    assert equal(one, same)
    assert not equal(one, other)


def test_global_generators_are_left_alone_at_every_report_and_have_no_influence(make_table):
    found = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        run = fit(ERM(), make_table(), model=Dropping(), training=Training(epochs=2, batch_size=16), seed=0)
        for last in run:
            report = last
            assert torch.equal(torch.get_rng_state(), before[0])
            np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
        found.append(report)
    assert equal(*found)


def test_two_networks_start_apart_and_both_learn(make_table):
    examples = make_table()
    state = last_report(Pair(), examples, training=Training(epochs=20, batch_size=16)).state
    first, second = state.models
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    for network in state.models:
        assert accuracy(predict_logits([network], examples), examples.labels) > 0.95


def test_the_image_model_learns_a_separable_toy_and_keeps_running_statistics(make_images):
    examples = make_images()
    report = last_report(ERM(), examples, model=SmallCNN(width=4, hidden=16), training=Training(epochs=8, batch_size=8))
    assert accuracy(predict_logits(report.state.models, examples), examples.labels) == 1.0
    assert int(report.state.models[0].state_dict()["2.num_batches_tracked"]) == 8 * 5


def test_mistakes_are_found_when_fit_is_called_not_when_it_runs(make_table):
    table = make_table()
    unlabelled = replace(table, labels=None, classes=())
    with pytest.raises(ValueError, match="training needs labels"):
        fit(ERM(), unlabelled, model=SMALL, training=Training(), seed=0)
    with pytest.raises(ValueError, match="use mlp for tables"):
        fit(ERM(), table, model=SmallCNN(), training=Training(), seed=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        fit(ERM(), table, model=SMALL, training=Training(), seed=-1)


def test_examples_are_left_untouched(make_table):
    examples = make_table(weights=np.ones(60, np.float32))
    copies = [array.copy() for array in (examples.inputs, examples.labels, examples.weights)]
    last_report(ERM(), examples)
    for array, copy in zip((examples.inputs, examples.labels, examples.weights), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


class Shift(nn.Module):
    def forward(self, inputs):
        return inputs + torch.randn(()) if self.training else inputs


@dataclass(frozen=True, kw_only=True)
class Shifted(Model):
    """A linear network whose training-mode logits are all moved by one random number a step."""

    def build(self, examples: Examples, seed: int) -> nn.Module:
        return nn.Sequential(MLP(widths=()).build(examples, seed), Shift())


def test_every_epoch_draws_anew_from_torchs_generator(make_table):
    recorder = Recorder({"train_logits": (1, 2)})
    still = Training(epochs=2, batch_size=60, learning_rate=1e-12, schedule="constant")
    last_report(ERM(), make_table(), model=Shifted(), training=still, recorder=recorder)
    first, second = np.moveaxis(recorder.result().arrays["train_logits"], 1, 0)
    assert np.abs(first - second).min() > 0.01


def test_a_caller_who_puts_the_networks_into_evaluation_mode_changes_nothing(make_table):
    run = fit(ERM(), make_table(), model=Dropping(), training=Training(epochs=3, batch_size=16), seed=0)
    for last in run:
        report = last
        report.state.models[0].eval()
    assert equal(report, last_report(ERM(), make_table(), model=Dropping()))


def test_a_resumed_run_with_dropout_equals_an_unbroken_one_bit_for_bit(make_table):
    settings = {"model": Dropping(), "training": Training(epochs=3, batch_size=16), "seed": 0}
    checkpoint = save_state(next(fit(ERM(), make_table(), **settings)).state)
    assert equal(
        last_report(ERM(), make_table(), **settings),
        last_report(ERM(), make_table(), **settings, resume=checkpoint),
    )
