import math

import numpy as np
import pytest
import torch

from learners.attacked import remember_attacked
from learners.attacks import Attack
from learners.batch import Batch
from learners.fit import fit
from learners.methods.aaer import AAER
from learners.methods.dro_irat import DROIRAT
from learners.methods.gairat import GAIRAT
from learners.methods.pgd_training import PGDTraining
from learners.methods.trades import TRADES
from learners.models.mlp import MLP
from learners.signals import Recorder
from learners.training import Training
from storage.index import ExampleIndex
from storage.values import Examples
from tests.learners.states import assert_equal_networks, state_of

ATTACK = Attack(epsilon=0.3, step_size=0.1, num_steps=2)
LEARNERS = [PGDTraining(attack=ATTACK), TRADES(attack=ATTACK), GAIRAT(attack=ATTACK), DROIRAT(attack=ATTACK), AAER()]


def two_classes(num_examples=48):
    rng = np.random.default_rng(3)
    labels = np.arange(num_examples) % 2
    weights = np.ones(num_examples, dtype=np.float32)
    weights[5] = 0
    return Examples(
        index=ExampleIndex(f"toy:{row}" for row in range(num_examples)),
        inputs=(labels[:, None] + rng.normal(size=(num_examples, 4))).astype(np.float32),
        labels=labels.astype(np.int64),
        classes=("low", "high"),
        weights=weights,
    )


def trained(learner, recorder):
    training = Training(epochs=2, batch_size=16)
    return list(fit(learner, two_classes(), model=MLP(widths=(8,)), training=training, seed=0, recorder=recorder))[-1]


def test_the_loss_by_hand_is_kept_only_where_it_is_recorded():
    # Softmax of (ln 3, 0, 0) is (0.6, 0.2, 0.2).
    logits = torch.tensor([[math.log(3), 0, 0], [0, math.log(3), 0]], requires_grad=True)
    batch = Batch(
        inputs=torch.zeros(2, 1), labels=torch.tensor([0, 2]), weights=torch.ones(2), positions=torch.tensor([4, 1])
    )
    state = state_of(torch.nn.Linear(1, 3), recorded=frozenset({"adversarial_loss"}))
    remember_attacked(state, batch, logits)
    expected = [0, -math.log(0.2), 0, 0, -math.log(0.6), 0, 0, 0]
    torch.testing.assert_close(state.buffers["adversarial_loss"][:, 0], torch.tensor(expected))
    bare = state_of(torch.nn.Linear(1, 3))
    remember_attacked(bare, batch, logits)
    assert list(bare.buffers) == ["adversarial_margins"]
    assert torch.equal(bare.buffers["adversarial_margins"], state.buffers["adversarial_margins"])


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_of_two_classes_the_loss_follows_from_the_margin_and_recording_it_changes_nothing_else(learner):
    recorder = Recorder({"adversarial_loss": (1, 2), "adversarial_margins": (1, 2)})
    with_loss, without = trained(learner, recorder), trained(learner, Recorder({"adversarial_margins": (2,)}))
    found = recorder.result().arrays
    margins, losses = (found[name][:, :, 0].astype(np.float64) for name in ("adversarial_margins", "adversarial_loss"))
    visited = np.arange(48) != 5
    np.testing.assert_allclose(losses[visited], np.log1p(np.exp(-margins[visited])), rtol=1e-4, atol=1e-6)
    assert (losses[5] == 0).all()
    assert_equal_networks(with_loss.state, without.state)
    assert with_loss.state.buffers.keys() - without.state.buffers.keys() == {"adversarial_loss"}
