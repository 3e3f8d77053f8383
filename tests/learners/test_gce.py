import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.functional import cross_entropy

from learners.evaluate import accuracy, predict_logits
from learners.methods.erm import ERM
from learners.methods.gce import GCE, gce_losses
from learners.models.mlp import MLP
from tests.learners.states import assert_equal_networks

ROWS = arrays(np.float64, (3, 4), elements=st.floats(-8, 8))
LABELS = torch.tensor([0, 3, 1])


def test_losses_worked_out_by_hand():
    # p = 0.25: q = 0.5 gives (1 - 0.5) / 0.5 = 1; q = 1 gives 0.75; q = 0 gives log 4 = 1.386294
    logits = torch.zeros(1, 4, dtype=torch.float64)
    found = [float(gce_losses(logits, torch.tensor([0]), q=q)) for q in (0.5, 1.0, 0.0)]
    np.testing.assert_allclose(found, [1.0, 0.75, 1.386294], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.floats(0.05, 1))
def test_gradient_is_that_of_cross_entropy_times_p_to_the_q(values, q):
    ours, plain = (torch.from_numpy(values).requires_grad_() for _ in range(2))
    gce_losses(ours, LABELS, q=q).sum().backward()
    cross_entropy(plain, LABELS, reduction="sum").backward()
    p = torch.softmax(plain.detach(), dim=1)[torch.arange(3), LABELS]
    np.testing.assert_allclose(ours.grad, p[:, None] ** q * plain.grad, rtol=1e-6, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.floats(0.05, 1))
def test_losses_lie_between_zero_and_one_over_q(values, q):
    losses = gce_losses(torch.from_numpy(values), LABELS, q=q)
    assert (losses >= 0).all()
    assert (losses <= 1 / q).all()


def test_small_q_approaches_cross_entropy():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(5) % 4
    found = gce_losses(logits, labels, q=1e-7)
    torch.testing.assert_close(found, cross_entropy(logits, labels, reduction="none"), atol=1e-5, rtol=1e-5)


def test_q_0_equals_plain_training_bit_for_bit(train, make_table):
    assert_equal_networks(train(GCE(q=0.0), make_table()), train(ERM(), make_table()))


def test_gce_keeps_the_truth_on_flipped_examples_that_plain_training_memorises(train, make_table):
    rng = np.random.default_rng(5)
    clean = np.arange(300) % 2
    flipped = rng.random(300) < 0.3
    examples = make_table(
        num_examples=300, num_classes=2, features=5, spread=0.6, labels=np.where(flipped, 1 - clean, clean)
    )
    recovered = []
    for learner in (GCE(q=1.0), ERM()):
        state = train(
            learner,
            examples,
            model=MLP(widths=(128, 128)),
            epochs=60,
            batch_size=32,
            learning_rate=0.05,
            weight_decay=0.0,
            schedule="constant",
        )
        recovered.append(accuracy(predict_logits(state.models, examples)[flipped], clean[flipped]))
    assert recovered[0] > 0.9
    assert recovered[0] > recovered[1] + 0.1


@pytest.mark.parametrize("q", [1.1, -0.1, float("nan")])
def test_settings_out_of_range_are_refused(q):
    with pytest.raises(ValueError, match=r"q must be in \[0, 1\], got"):
        GCE(q=q)
