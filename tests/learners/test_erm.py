import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.methods.erm import ERM, erm_losses
from learners.models.mlp import MLP
from learners.training import Training


def test_losses_are_those_worked_out_by_hand():
    # log(e^2 + e + 1) = 2.407606, so the losses are 2.407606 minus the label's logit
    logits = torch.tensor([[2.0, 1.0, 0.0]] * 3)
    losses = erm_losses(logits, torch.tensor([0, 1, 2]))
    np.testing.assert_allclose(losses, [0.407606, 1.407606, 2.407606], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(-30, 30)), st.permutations(range(4)))
def test_losses_equal_a_slow_loop_and_ignore_the_names_of_classes(values, names):
    labels = np.array([0, 1, 3])
    losses = erm_losses(torch.from_numpy(values), torch.from_numpy(labels))
    for row in range(3):
        slow = math.log(sum(math.exp(z - values[row].max()) for z in values[row])) + values[row].max()
        assert math.isclose(losses[row], slow - values[row, labels[row]], abs_tol=1e-9)
    renamed = np.empty_like(values)
    renamed[:, names] = values
    again = erm_losses(torch.from_numpy(renamed), torch.from_numpy(np.array(names)[labels]))
    np.testing.assert_allclose(losses, again, atol=1e-9)
    assert (losses >= 0).all()


def test_plain_training_memorises_planted_flips(make_table):
    clean = np.arange(90) % 3
    labels = clean.copy()
    labels[::5] = (labels[::5] + 1) % 3
    examples = make_table(num_examples=90, features=20, spread=1.0, labels=labels)
    training = Training(epochs=80, batch_size=32, learning_rate=0.1, weight_decay=0.0)
    for report in fit(ERM(), examples, model=MLP(widths=(128,)), training=training, seed=1):
        if report.epoch == 2:
            early = accuracy(predict_logits(report.state.models, examples)[::5], labels[::5])
    late = accuracy(predict_logits(report.state.models, examples)[::5], labels[::5])
    assert early < 0.5
    assert late > 0.9
