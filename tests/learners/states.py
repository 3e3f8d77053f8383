"""A training state by hand, and comparisons of trained networks."""

import torch

from learners.state import TrainState


def state_of(*networks, num_examples=8, num_classes=3, learning_rate=0.0, **settings):
    """A state before its first step; with a learning rate of 0 the networks stay as they are."""
    optimizers = [torch.optim.SGD(network.parameters(), lr=learning_rate) for network in networks]
    return TrainState(
        models=list(networks),
        optimizers=optimizers,
        schedulers=[torch.optim.lr_scheduler.LambdaLR(one, lambda step: 1.0) for one in optimizers],
        num_examples=num_examples,
        num_classes=num_classes,
        identity={},
        **{"total_epochs": 1, "total_steps": 1, **settings},
    )


def assert_equal_networks(one, other, model=0):
    """Every weight of the two states' networks is the same, bit for bit."""
    for ours, theirs in zip(one.models[model].parameters(), other.models[model].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def assert_close_networks(one, other, model=0, **tolerances):
    for ours, theirs in zip(one.models[model].parameters(), other.models[model].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, **tolerances)
