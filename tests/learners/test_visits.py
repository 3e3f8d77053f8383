from dataclasses import replace

import numpy as np
import pytest

from learners.batches import batch_positions, kept_positions
from learners.checkpoint import save_state
from learners.distributed import Ranks
from learners.fit import fit
from learners.methods.elr import ELR
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.order import Order, scheduled_rows
from learners.signals import Recorder
from learners.training import Training
from storage.values import Schedule

HALVES = Schedule(rule="dealt", fraction=0.5, seed=4)
WEIGHTS = (np.arange(60) % 3 > 0).astype(np.float32)
"""40 of 60 rows."""


def start(examples, schedule, *, learner=None, epochs=4, recorder=None, resume=None, ranks=None, **settings):
    training = Training(epochs=epochs, batch_size=8, **settings)
    model = MLP(widths=(6,))
    return fit(
        learner or ELR(),
        examples,
        model=model,
        training=training,
        seed=2,
        recorder=recorder,
        resume=resume,
        ranks=ranks,
        schedule=schedule,
    )


def arrays(report):
    return save_state(report.state).arrays


def assert_same(one, other):
    for name, array in arrays(one).items():
        np.testing.assert_array_equal(arrays(other)[name], array, err_msg=name)


@pytest.mark.parametrize("rule", ["redrawn", "dealt"])
def test_each_epoch_visits_its_scheduled_rows_of_weight_above_0_once(make_table, rule):
    examples = make_table(weights=WEIGHTS)
    kept = kept_positions(examples)
    schedule = Schedule(rule=rule, fraction=0.25, seed=9)
    before = np.zeros((60, 3), np.float32)
    for report in start(examples, schedule):
        assert report.num_visits == 10
        targets = report.state.buffers["elr_targets"].numpy().copy()
        visited = np.flatnonzero((targets != before).any(axis=1))
        assert visited.tolist() == sorted(kept[scheduled_rows(schedule, 40, report.epoch - 1)].tolist())
        before = targets


def test_learning_rates_go_through_their_whole_course_in_the_fewer_steps(make_table):
    *_, last = start(make_table(weights=WEIGHTS), Schedule(rule="redrawn", fraction=0.5, seed=0))
    # 20 rows in batches of 8: 3 steps an epoch, 12 in all; on all 40 rows they would be 20
    assert last.state.step == last.state.total_steps == 12
    assert last.state.schedulers[0].get_last_lr()[0] == pytest.approx(0, abs=1e-9)


def test_with_steps_per_epoch_an_epoch_is_cut_from_consecutive_scheduled_passes(make_table):
    examples = make_table(weights=WEIGHTS)
    first = next(start(examples, HALVES, steps_per_epoch=6))
    assert first.num_visits == 40
    visited = (first.state.buffers["elr_targets"] != 0).any(dim=1).numpy()
    np.testing.assert_array_equal(visited, WEIGHTS > 0)


def test_batches_of_training_are_those_of_a_loader_with_the_same_schedule():
    schedule = Schedule(rule="dealt", fraction=0.3, seed=1)
    order = Order(num_rows=50, batch_size=4, seed=6, schedule=schedule)
    kept = np.arange(50) * 2
    trained = batch_positions(
        kept, Training(batch_size=4), seed=6, first_step=0, num_steps=5 * order.num_steps, schedule=schedule
    )
    mine = [kept[rows].tolist() for epoch in range(5) for rows in order.batches(epoch)]
    assert mine == [batch.tolist() for batch in trained]


@pytest.mark.parametrize("rule", ["redrawn", "dealt"])
def test_a_schedule_of_all_rows_trains_as_none(make_table, rule):
    examples = make_table(weights=WEIGHTS)
    *_, plain = start(examples, None)
    *_, scheduled = start(examples, Schedule(rule=rule, fraction=1.0, seed=8))
    assert_same(plain, scheduled)


@pytest.mark.parametrize("settings", [{}, {"steps_per_epoch": 4, "augment": ()}])
def test_a_scheduled_run_resumes_bit_for_bit(make_table, settings):
    examples = make_table(weights=WEIGHTS)
    run = start(examples, HALVES, **settings)
    next(run)
    checkpoint = save_state(next(run).state)
    *_, whole = start(examples, HALVES, **settings)
    *_, resumed = start(examples, HALVES, resume=checkpoint, **settings)
    assert_same(whole, resumed)


@pytest.mark.parametrize("other", [None, replace(HALVES, seed=5), replace(HALVES, rule="redrawn")])
def test_a_checkpoint_of_another_schedule_is_refused(make_table, other):
    checkpoint = save_state(next(start(make_table(), HALVES, steps_per_epoch=4)).state)
    with pytest.raises(ValueError, match="another run: its examples is"):
        start(make_table(), other, resume=checkpoint, steps_per_epoch=4)


def test_train_logits_of_an_epoch_that_leaves_rows_out_are_refused_at_once(make_table):
    recorder = Recorder({"train_logits": (2,)})
    with pytest.raises(ValueError, match=r"'train_logits' at epoch 2: the schedule leaves 30 of 60 .* record 'logits'"):
        start(make_table(), HALVES, recorder=recorder)


def test_a_memory_recorded_before_every_row_was_visited_is_refused_at_once(make_table):
    with pytest.raises(ValueError, match=r"'elr_targets' at epoch 1: the schedule leaves 30 of 60 .* at a later epoch"):
        start(make_table(), HALVES, recorder=Recorder({"elr_targets": (1, 4)}))


def test_signals_that_every_row_has_by_then_are_recorded(make_table):
    recorder = Recorder({"elr_targets": (2, 4), "logits": (1,)})
    list(start(make_table(weights=WEIGHTS), HALVES, recorder=recorder))
    targets = recorder.result().arrays["elr_targets"]
    assert (targets[WEIGHTS > 0].sum(axis=2) > 0).all()
    assert (targets[WEIGHTS == 0] == 0).all()
    # two passes in each epoch deal out all rows
    caught = Recorder({"train_logits": (1, 3)})
    list(start(make_table(weights=WEIGHTS), HALVES, recorder=caught, steps_per_epoch=6))
    assert (caught.result().arrays["train_logits"][WEIGHTS > 0] != 0).all()


def test_a_schedule_of_a_single_row_is_refused(make_table):
    with pytest.raises(ValueError, match="visits 1 example in a pass, and training needs at least 2"):
        start(make_table(), Schedule(rule="dealt", fraction=0.01, seed=0), learner=ERM())


def test_the_last_batch_of_a_scheduled_pass_must_do_for_all_processes(make_table):
    # 27 of 60 rows in batches of 8: a rest of 3
    with pytest.raises(ValueError, match="the last batch of a pass has 3 examples, fewer than two for each of 2"):
        start(make_table(), Schedule(rule="dealt", fraction=0.45, seed=0), ranks=Ranks(world_size=2))
