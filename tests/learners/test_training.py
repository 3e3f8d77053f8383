import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from learners.optimizers import make_optimizer, make_scheduler
from learners.training import Training


def learning_rates(training, total_steps):
    optimizer = make_optimizer(training, nn.Linear(2, 2).parameters())
    scheduler = make_scheduler(training, optimizer, total_steps)
    rates = []
    for _ in range(total_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_falls_from_the_learning_rate_over_all_steps():
    # 0.1 * (1 + cos(pi * s / 4)) / 2 at s = 0, 1, 2, 3
    expected = [0.1, 0.05 * (1 + math.sqrt(0.5)), 0.05, 0.05 * (1 - math.sqrt(0.5))]
    assert learning_rates(Training(learning_rate=0.1), 4) == pytest.approx(expected)


def test_constant_schedule_keeps_the_learning_rate():
    assert learning_rates(Training(learning_rate=0.1, schedule="constant"), 3) == [0.1, 0.1, 0.1]


def test_one_step_of_sgd_with_decay_is_the_one_worked_out_by_hand():
    # w = 2, gradient 3, decay 0.1: w - 0.5 * (3 + 0.2) = 0.4
    weight = nn.Parameter(torch.tensor([2.0]))
    weight.grad = torch.tensor([3.0])
    make_optimizer(Training(learning_rate=0.5, weight_decay=0.1), [weight]).step()
    assert weight.item() == pytest.approx(0.4)


def test_one_step_of_adamw_is_the_one_worked_out_by_hand():
    # w = 2, decay 0.1: 2 * (1 - 0.5 * 0.1) = 1.9; the first Adam step moves by the learning rate: 1.4
    weight = nn.Parameter(torch.tensor([2.0]))
    weight.grad = torch.tensor([3.0])
    make_optimizer(Training(optimizer="adamw", learning_rate=0.5, weight_decay=0.1), [weight]).step()
    assert weight.item() == pytest.approx(1.4, abs=1e-5)


def test_a_subset_takes_as_many_steps_as_the_full_data_when_told_to():
    training = Training(batch_size=128)
    assert training.batches_per_pass(20_000) == 157
    assert replace(training, steps_per_epoch=157).steps_in_epoch(500) == 157


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1, got 0"),
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adamw, sam, adamp, sgdp, got 'lion'"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, one_cycle, step, got 'linear'"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Training(**settings)


def test_threads_are_set_inside_a_block_and_put_back():
    import torch

    from learners.threads import computing_threads

    before = torch.get_num_threads()
    with computing_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError), computing_threads(before + 1):
        raise RuntimeError
    assert torch.get_num_threads() == before
    with computing_threads(None):
        assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        Training(threads=0)


@pytest.mark.parametrize("optimizer", ["sgdp", "adamp"])
def test_projected_steps_do_not_lengthen_a_scale_invariant_weight(optimizer):
    # f(w) = cos of the angle to (0, 1): its gradient at (3, 4) is at right angles to w, and so is the first step
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = make_optimizer(Training(optimizer=optimizer, learning_rate=0.01, weight_decay=0.0), [weight])
    (weight[0, 1] / weight.norm()).backward()
    before = weight.detach().clone()
    optimizer.step()
    step = weight.detach() - before
    assert float(step.norm()) > 1e-4
    assert float((step * before).sum() / step.norm() / before.norm()) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warm_up": 1.0}, r"warm_up must be in \[0, 1\), got 1.0"),
        ({"warm_up": 0.1, "schedule": "one_cycle"}, "one_cycle has its own warm-up"),
        ({"schedule": "step", "milestones": (0.7, 0.5)}, r"milestones must rise and be in \(0, 1\), got \[0.7, 0.5\]"),
        ({"schedule": "step", "milestones": ()}, "milestones must rise"),
        ({"schedule": "step", "milestones": (0.5, 1.0)}, "milestones must rise"),
        ({"milestones": (0.5,)}, "milestones has no effect without schedule 'step'"),
        ({"sam_radius": 0.1}, "sam_radius has no effect without optimizer 'sam'"),
        ({"optimizer": "sam", "sam_radius": 0.0}, "sam_radius must be above 0, got 0.0"),
        ({"gradient_accumulation": 0}, "gradient_accumulation must be at least 1, got 0"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0, got 0.0"),
        ({"ema": 1.0}, r"ema must be in \(0, 1\), got 1.0"),
        ({"early_stop": 0}, "early_stop must be at least 1, got 0"),
        ({"class_weights": "even"}, "class_weights must be one of none, balanced, effective_number, got 'even'"),
        ({"class_weight_beta": 0.9}, "class_weight_beta has no effect without class_weights 'effective_number'"),
        ({"augment": ("spin",)}, "augment must be of crop, flip, cutout, got 'spin'"),
        ({"augment": ("flip", "flip")}, "augment must name each change once"),
        ({"augment": ("flip",), "cutout_size": 3}, "cutout_size has no effect without augment 'cutout'"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16, got 'half'"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, got 'tpu'"),
    ],
)
def test_settings_without_effect_or_that_contradict_others_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Training(**settings)
