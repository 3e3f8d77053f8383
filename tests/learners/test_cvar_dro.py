import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.attacks import Attack
from learners.methods.cvar_dro import CVaRDRO, cvar_weights
from learners.methods.erm import ERM
from learners.methods.pgd_training import PGDTraining
from learners.worst_case import conditional_value_at_risk
from tests.learners.states import assert_equal_networks


def test_the_worst_half_of_five_by_hand():
    # two and a half of five: (2, 2, 1, 0, 0) / 5 = (0.4, 0.4, 0.2, 0, 0), value 5 * 0.4 + 4 * 0.4 + 3 * 0.2 = 4.2
    losses = torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64)
    weights = cvar_weights(losses, torch.ones(5), fraction=0.5)
    np.testing.assert_allclose(weights / 5, [0, 0, 0.2, 0.4, 0.4])
    assert float((weights * losses).mean()) == pytest.approx(4.2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=9), st.floats(0.05, 1), st.integers(0, 100))
def test_whole_weights_count_as_repeated_examples(values, fraction, seed):
    times = np.random.default_rng(seed).integers(1, 4, size=len(values))
    losses = torch.tensor(values, dtype=torch.float64)
    weights = cvar_weights(losses, torch.tensor(times, dtype=torch.float64), fraction=fraction)
    found = float((weights.numpy() * times * values).sum() / times.sum())
    assert found == pytest.approx(conditional_value_at_risk(np.repeat(values, times), fraction=fraction), abs=1e-6)


def test_the_whole_batch_equals_plain_or_adversarial_training_bit_for_bit(train, make_table):
    examples = make_table(weights=np.linspace(0.5, 2, 60).astype(np.float32))
    assert_equal_networks(train(CVaRDRO(fraction=1.0), examples), train(ERM(), examples))
    attack = Attack(epsilon=0.3, step_size=0.1)
    ours = train(CVaRDRO(fraction=1.0, attack=attack), examples)
    assert_equal_networks(ours, train(PGDTraining(attack=attack), examples))


def test_only_the_worst_examples_are_weighed(train, make_table):
    state = train(CVaRDRO(fraction=0.25), make_table(), epochs=1, batch_size=60)
    weights = state.buffers["dro_weights"][:, 0]
    assert sorted(weights.tolist()) == [0.0] * 45 + [4.0] * 15


@pytest.mark.parametrize("fraction", [0.0, 1.1, float("nan")])
def test_settings_out_of_range_are_refused(fraction):
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\], got"):
        CVaRDRO(fraction=fraction)
