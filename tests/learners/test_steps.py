import pytest
import torch
from torch import nn

from learners.batches import ExampleTensors
from learners.methods.elr import ELR
from learners.methods.elr_plus import ELRPlus
from learners.methods.erm import ERM
from learners.methods.ps_kd import PSKD
from learners.steps import num_parts, take_step
from learners.validation import BEST
from tests.learners.states import assert_close_networks, assert_equal_networks, state_of

CLOSE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.mark.parametrize(
    "learner", [ERM(), ELR(), PSKD(), ELRPlus(mixup_alpha=0.0)], ids=lambda one: type(one).__name__
)
def test_a_batch_in_parts_trains_as_the_whole_batch(train, make_table, learner):
    whole, parts = (train(learner, make_table(), batch_size=24, gradient_accumulation=count) for count in (1, 5))
    assert whole.step == parts.step
    for model in range(learner.num_models):
        assert_close_networks(whole, parts, model, **CLOSE)
    for name, buffer in whole.buffers.items():
        torch.testing.assert_close(parts.buffers[name], buffer, **CLOSE)
    for name, network in whole.copies.items():
        for one, other in zip(network.parameters(), parts.copies[name].parameters(), strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


def test_a_small_batch_is_cut_into_fewer_parts():
    assert num_parts(3, 8, 1) == 1
    assert num_parts(9, 8, 1) == 4
    assert num_parts(9, 8, 2) == 2
    assert num_parts(64, 4, 2) == 4


def one_weight(value, **descent):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    state = state_of(network, learning_rate=0.5)
    for name, setting in descent.items():
        setattr(state.descent, name, setting)
    return state, network


def test_a_long_gradient_is_cut_to_the_greatest_length():
    # loss 3w: gradient 3, cut to 1: 2 - 0.5 * 1
    state, network = one_weight(2.0, clip_norm=1.0)
    state.descend(3 * network.weight.view(1), torch.ones(1))
    assert network.weight.item() == pytest.approx(1.5, abs=1e-5)


def test_a_short_gradient_stays_as_it_is():
    state, network = one_weight(2.0, clip_norm=10.0)
    state.descend(3 * network.weight.view(1), torch.ones(1))
    assert network.weight.item() == pytest.approx(0.5)


def test_the_average_of_the_weights_is_the_one_worked_out_by_hand():
    # loss w: weights 2 - 0.5 per step; decay 0.1 at step 0 (already at the new weight), 2/11 at step 1
    state, network = one_weight(2.0, ema=0.9)
    state.descend(network.weight.view(1), torch.ones(1))
    assert state.copies["ema_0"].weight.item() == pytest.approx(1.5)
    state.step = 1
    state.descend(network.weight.view(1), torch.ones(1))
    assert state.copies["ema_0"].weight.item() == pytest.approx(2 / 11 * 1.5 + 9 / 11 * 1.0)
    assert state.predicting == [state.copies["ema_0"]]


def test_an_average_changes_predictions_and_not_the_training(train, make_table):
    plain, averaged = train(ERM(), make_table()), train(ERM(), make_table(), ema=0.99)
    assert_equal_networks(plain, averaged)
    assert averaged.predicting[0] is averaged.copies["ema_0"]
    assert plain.predicting is plain.models


def test_mixed_precision_trains_close_to_full_precision(train, make_table):
    full, mixed = (train(PSKD(), make_table(), precision=name) for name in ("float32", "bfloat16"))
    assert next(mixed.models[0].parameters()).dtype == torch.float32
    assert mixed.buffers["ps_kd_targets"].dtype == torch.float32
    assert not torch.equal(full.buffers["ps_kd_targets"], mixed.buffers["ps_kd_targets"])
    torch.testing.assert_close(full.buffers["ps_kd_targets"], mixed.buffers["ps_kd_targets"], rtol=0, atol=0.03)


def test_half_precision_memories_take_half_the_bytes_and_stay_close(train, make_table):
    full, half = (train(PSKD(), make_table(), buffers=name) for name in ("float32", "float16"))
    assert half.buffers["ps_kd_targets"].dtype == torch.float16
    torch.testing.assert_close(
        half.buffers["ps_kd_targets"].float(), full.buffers["ps_kd_targets"], rtol=1e-2, atol=1e-3
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", [{}, {"precision": "bfloat16", "compile": True}], ids=["float32", "fast"])
def test_training_on_a_gpu_is_close_to_training_on_the_cpu(train, make_table, settings):
    cpu = train(ELR(), make_table(), device="cpu")
    gpu = train(ELR(), make_table(), device="cuda", **settings)
    assert gpu.buffers["elr_targets"].is_cuda
    torch.testing.assert_close(gpu.buffers["elr_targets"].cpu(), cpu.buffers["elr_targets"], rtol=0, atol=0.05)


def test_a_gpu_that_is_not_there_is_refused(train, make_table):
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    with pytest.raises(ValueError, match="device is 'cuda', but PyTorch finds no CUDA device"):
        train(ERM(), make_table(), device="cuda")


def test_compilation_on_the_cpu_is_refused(train, make_table):
    with pytest.raises(ValueError, match="compile needs a GPU"):
        train(ERM(), make_table(), device="cpu", compile=True)


class ThreeAlike:
    """Three ranks that hold the same, by what one of them has."""

    rank, world_size = 0, 3

    def gathered(self, rows, total):
        return rows.repeat(3, *[1] * (rows.ndim - 1))[:total]

    def means(self, numbers):
        return (numbers + numbers + numbers) / 3

    def sum_gradients(self, network):
        pass


def test_the_value_of_the_best_epoch_stays_what_it_is_on_three_ranks(make_table):
    accuracies = [count / 2000 for count in range(2001)]
    value = next(one for one in accuracies if (one + one + one) / 3 != one)
    state = state_of(nn.Linear(4, 3), num_examples=60)
    state.descent.ranks = ThreeAlike()
    state.vector(BEST, size=2).copy_(torch.tensor([1.0, value], dtype=torch.float64))
    batch = ExampleTensors.of(make_table()).batch(torch.arange(2))
    take_step(ERM(), state, [batch], [6])
    assert state.vectors[BEST].tolist() == [1.0, value]
