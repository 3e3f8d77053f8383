from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.methods.erm import ERM
from learners.methods.group_dro import GroupDRO, group_means, updated_group_shares
from tests.learners.states import assert_close_networks


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
        ({"groups": "split"}, "groups must be one of group, label, got 'split'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(GroupDRO(), **settings)
