import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr, softmax

from learners.losses import kl_divergence, label_margins, soft_cross_entropy

ROWS = arrays(np.float64, (3, 4), elements=st.floats(-8, 8))


def test_soft_cross_entropy_against_a_blend_worked_out_by_hand():
    # softmax(1, 0.5, -0.5) = (0.546549, 0.331499, 0.121952);
    # -(0.80 log 0.546549 + 0.12 log 0.331499 + 0.08 log 0.121952) = 0.784131
    losses = soft_cross_entropy(torch.tensor([[1.0, 0.5, -0.5]]), torch.tensor([[0.80, 0.12, 0.08]]))
    np.testing.assert_allclose(losses, [0.784131], atol=1e-6)


def test_margins_by_hand():
    logits = torch.tensor([[3.0, 1, 0], [0, 2, 5], [1, 1, 0]])
    np.testing.assert_allclose(label_margins(logits, torch.tensor([0, 1, 0])), [2, -3, 0])


@settings(max_examples=30, deadline=None)
@given(ROWS, ROWS)
def test_divergence_equals_scipys_and_is_zero_between_equals(one, other):
    found = kl_divergence(torch.from_numpy(one), torch.from_numpy(other))
    np.testing.assert_allclose(found, rel_entr(softmax(one, axis=1), softmax(other, axis=1)).sum(1), atol=1e-9)
    np.testing.assert_allclose(kl_divergence(torch.from_numpy(one), torch.from_numpy(one)), 0, atol=1e-12)
