from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.batch import Batch
from learners.checkpoint import save_state
from learners.fit import fit
from learners.methods.erm import ERM
from learners.methods.group_dro import GroupDRO, adjusted_means, group_means, updated_group_shares
from learners.models.mlp import MLP
from learners.training import Training
from tests.learners.states import assert_close_networks, assert_equal_networks, state_of


def test_one_step_of_the_shares_by_hand():
    # (exp(0.005), exp(0.01), exp(0.02)) / 3.035269 = (0.331112, 0.332772, 0.336116); times (0.5, 1, 2): 1.170560
    means = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    shares = updated_group_shares(torch.full((3,), 1 / 3, dtype=torch.float64), means, eta=0.01)
    np.testing.assert_allclose(shares, [0.331112, 0.332772, 0.336116], atol=1e-6)
    assert float((shares * means).sum()) == pytest.approx(1.170560, abs=1e-6)


def test_means_of_groups_by_hand_and_zero_for_an_absent_one():
    losses, weights = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 1.0])
    means, counts = group_means(losses, weights, torch.tensor([0, 0, 2]), 3)
    assert means.tolist() == [1.75, 0.0, 4.0]  # (1 + 6) / 4
    assert counts.tolist() == [2, 0, 1]


def test_the_adjustment_for_group_sizes_by_hand():
    # 1 / sqrt(100, 25, 4) = (0.1, 0.2, 0.5): means (0.6, 1.2, 2.5) where the group is there. exp(0.01 * them) / sum =
    # (0.330557, 0.332546, 0.336897); the loss is still that of the plain means, 0.5, 1 and 2: 1.171619
    means = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    sizes = torch.tensor([100.0, 25.0, 4.0], dtype=torch.float64)
    risks = adjusted_means(means, torch.ones(3), sizes, adjustment=1.0)
    np.testing.assert_allclose(risks, [0.6, 1.2, 2.5])
    assert means.tolist() == [0.5, 1.0, 2.0]
    shares = updated_group_shares(torch.full((3,), 1 / 3, dtype=torch.float64), risks, eta=0.01)
    np.testing.assert_allclose(shares, [0.330557, 0.332546, 0.336897], atol=1e-6)
    assert float((shares * means).sum()) == pytest.approx(1.171619, abs=1e-6)


def test_an_absent_group_is_not_adjusted_even_if_it_was_never_seen():
    means, counts = torch.tensor([0.5, 0.0, 0.0]), torch.tensor([3.0, 0.0, 0.0])
    risks = adjusted_means(means, counts, torch.tensor([4.0, 9.0, 0.0]), adjustment=2.0)
    assert risks.tolist() == [1.5, 0.0, 0.0]
    shares = updated_group_shares(torch.tensor([0.2, 0.5, 0.3]), risks, eta=0.1)
    assert float(shares[2] / shares[1]) == pytest.approx(0.6)


def batch_of(groups):
    size = len(groups)
    return Batch(
        inputs=torch.ones(size, 2),
        labels=torch.zeros(size, dtype=torch.int64),
        positions=torch.arange(size),
        weights=torch.ones(size),
        groups=torch.tensor(groups),
    )


def test_the_adjustment_moves_the_shares_from_the_second_epoch_and_never_the_losses():
    learner = GroupDRO(eta=0.1, adjustment=3.0)
    state = state_of(torch.nn.Linear(2, 3), num_groups=2, total_epochs=2)
    batch = batch_of([0, 0, 0, 0, 1])
    first = learner.step(state, batch)
    # the same loss in both groups leaves equal shares; from epoch 2 on, 3 / sqrt(4) and 3 / sqrt(1) are added
    np.testing.assert_allclose(state.vectors["group_shares"], [0.5, 0.5])
    assert state.vectors["group_sizes"].tolist() == [4, 1]
    state.epoch = 1
    second = learner.step(state, batch)
    expected = np.exp([0.15, 0.3]) / np.exp([0.15, 0.3]).sum()
    np.testing.assert_allclose(state.vectors["group_shares"], expected)
    assert state.vectors["group_sizes"].tolist() == [4, 1]
    torch.testing.assert_close(second.losses, first.losses)
    assert second.metrics["worst_group_loss"] == pytest.approx(float(first.losses[0]))


def test_without_an_adjustment_nothing_changes_and_with_one_small_groups_gain(train, make_table):
    groups = (np.arange(60) % 12 == 0).astype(np.int64)
    examples = make_table(groups=groups)
    plain, zero, adjusted = (
        train(GroupDRO(eta=0.1, **settings), examples, epochs=4)
        for settings in ({}, {"adjustment": 0.0}, {"adjustment": 2.0})
    )
    assert_equal_networks(plain, zero)
    assert adjusted.vectors["group_sizes"].tolist() == [55, 5]
    assert adjusted.vectors["group_shares"][1] > plain.vectors["group_shares"][1] + 0.05


def test_shares_and_sizes_are_part_of_a_checkpoint(make_table):
    examples = make_table(groups=(np.arange(60) % 12 == 0).astype(np.int64))

    def run(resume=None):
        training, learner = Training(epochs=3, batch_size=16), GroupDRO(eta=0.1, adjustment=2.0)
        return fit(learner, examples, model=MLP(widths=(4,)), training=training, seed=1, resume=resume)

    whole = list(run())[-1].state
    first = run()
    checkpoint = save_state(next(first).state)
    first.close()
    resumed = list(run(checkpoint))[-1].state
    for name in ("group_shares", "group_sizes"):
        assert torch.equal(whole.vectors[name], resumed.vectors[name])
    assert_equal_networks(whole, resumed)


def test_an_adjustment_that_would_end_before_it_starts_is_refused(train, make_table):
    with pytest.raises(ValueError, match="adjustment starts with the second epoch, and training has one"):
        train(GroupDRO(adjustment=1.0, groups="label"), make_table(), epochs=1)


def test_one_group_equals_plain_training(train, make_table):
    examples = make_table(groups=np.zeros(60, np.int64))
    assert_close_networks(train(GroupDRO(), examples), train(ERM(), examples), rtol=1e-5, atol=1e-6)


def test_with_a_step_of_zero_every_group_of_a_batch_counts_the_same(train, make_table):
    groups = (np.arange(60) % 6 == 0).astype(np.int64)
    state = train(GroupDRO(eta=0.0), make_table(groups=groups), epochs=1, batch_size=60)
    weights = state.buffers["dro_weights"][:, 0].numpy()
    np.testing.assert_allclose(weights[groups == 1], 60 * 0.5 / 10, rtol=1e-6)
    np.testing.assert_allclose(weights[groups == 0], 60 * 0.5 / 50, rtol=1e-6)


def test_the_share_of_a_group_that_cannot_be_learnt_grows(train, make_table):
    rng = np.random.default_rng(0)
    groups = (np.arange(60) % 4 == 0).astype(np.int64)
    labels = np.where(groups == 1, rng.integers(3, size=60), np.arange(60) % 3)
    state = train(GroupDRO(eta=0.1), make_table(labels=labels, groups=groups), epochs=20)
    shares = state.vectors["group_shares"]
    assert shares[1] > 0.8
    assert float(shares.sum()) == pytest.approx(1.0)


def test_labels_can_serve_as_groups_and_missing_groups_are_refused(train, make_table):
    assert len(train(GroupDRO(groups="label"), make_table()).vectors["group_shares"]) == 3
    with pytest.raises(ValueError, match="learner group_dro needs groups, and these examples have none"):
        train(GroupDRO(), make_table())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eta": -0.1}, "eta must be at least 0, got -0.1"),
        ({"adjustment": -1.0}, "adjustment must be at least 0, got -1.0"),
        ({"groups": "split"}, "groups must be one of group, label, got 'split'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(GroupDRO(), **settings)
