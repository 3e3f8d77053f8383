import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import nn

from flows import resolve
from learners.attacks import Attack, Threat, label_loss, pgd, region
from learners.auto_attack.apgd import apgd
from learners.auto_attack.ensemble import AutoAttack, auto_attack
from learners.auto_attack.fab import fab
from learners.auto_attack.offsets import OffsetSpace
from learners.auto_attack.square import square
from learners.batch import Batch
from learners.losses import label_margins
from learners.methods.aaer import AAER
from learners.methods.pgd_training import PGDTraining
from learners.observed import observed_learner, observed_threat
from learners.robustness import adversarial_logits, evaluation_attacks
from storage.index import ExampleIndex
from storage.values import Examples
from tests.learners.states import state_of

# Four features of units of their own: the third is kept by its scale, the fourth by equal bounds.
LOWER, UPPER, SCALES = (0.0, -10.0, 0.0, 5.0), (1.0, 10.0, 3.0, 5.0), (0.5, 20.0, 0.0, 1.0)
TABLE = Threat(epsilon=0.2, lower=LOWER, upper=UPPER, scales=SCALES)
SLOPES, SHIFT = (2.0, -0.1, 1.0, 3.0), -17.5


def linear(*slopes, shift=SHIFT):
    """Two classes: the logits are minus and plus half of the slopes' product with the input, plus the shift."""
    network = nn.Linear(len(slopes), 2).eval()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[-0.5], [0.5]]) * torch.tensor([slopes]))
        network.bias.copy_(torch.tensor([-0.5, 0.5]) * shift)
    return network


def rows(count=12, seed=0):
    draws = np.random.default_rng(seed).random((count, 4))
    low, high = np.array(LOWER), np.array(UPPER)
    return torch.tensor(low + (high - low) * draws, dtype=torch.float32)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def worst_corner(row, label, threat):
    """Least margin over all corners of the box, tried one by one, and the corner."""
    ends = []
    for place, value in enumerate(row.tolist()):
        reach = threat.epsilon * threat.scales[place]
        ends.append((max(value - reach, threat.lower[place]), min(value + reach, threat.upper[place])))
    sign = 2 * int(label) - 1
    return min((sign * (float(np.dot(SLOPES, corner)) + SHIFT), corner) for corner in itertools.product(*ends))


def least_margins(inputs, labels):
    return np.array([worst_corner(row, label, TABLE)[0] for row, label in zip(inputs, labels, strict=True)])


ATTACKS = {
    "pgd": Attack.against(TABLE, step_size=0.07, num_steps=8),
    "pgd from the input": Attack.against(TABLE, step_size=0.07, num_steps=8, start="zero"),
    "fgsm": evaluation_attacks(TABLE)["fgsm"].attack,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_gradient_attacks_end_in_the_worst_corner_of_a_tables_box(attack):
    inputs, labels = rows(), torch.arange(12) % 2
    found = pgd(linear(*SLOPES), inputs, label_loss(labels), attack, draws())
    expected = [worst_corner(row, label, TABLE)[1] for row, label in zip(inputs, labels, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_one_row_by_hand():
    # reach 0.2 * (0.5, 20, 0, 1) = (0.1, 4, 0, 1); class 1 falls with the first feature and rises with the second:
    # 0.05 - 0.1 stops at 0, 8 + 4 stops at 10, the third has no scale and the fourth no room
    inputs, labels = torch.tensor([[0.05, 8.0, 2.0, 5.0]]), torch.tensor([1])
    for attack in ATTACKS.values():
        found = pgd(linear(*SLOPES), inputs, label_loss(labels), attack, draws())
        torch.testing.assert_close(found, torch.tensor([[0.0, 10.0, 2.0, 5.0]]))


def predicted(num_rows=40):
    """A network, rows of a table and the labels that it predicts for them."""
    network, inputs = linear(*SLOPES), rows(num_rows)
    return network, inputs, network(inputs).argmax(1)


def test_the_parts_of_autoattack_end_in_the_worst_corner_or_in_one_that_fools():
    network, inputs, labels = predicted()
    space, expected = OffsetSpace.around(network, inputs, labels, TABLE), least_margins(inputs, labels)
    assert 5 < (expected < 0).sum() < 35
    for offsets in (
        apgd(space, label_loss(labels), num_steps=40, generator=draws()),
        square(space, num_queries=200, generator=draws()),
    ):
        logits = network(space.reached(space.projected(offsets))).detach()
        margins = label_margins(logits, labels).numpy()
        np.testing.assert_array_equal(margins < 0, expected < 0)
        np.testing.assert_allclose(margins[expected > 0], expected[expected > 0], atol=2e-4)


def test_fab_and_the_ensemble_fool_exactly_the_rows_whose_worst_corner_is_fooled():
    network, inputs, labels = predicted()
    expected = least_margins(inputs, labels) < 0
    space = OffsetSpace.around(network, inputs, labels, TABLE)
    reached = space.reached(space.projected(fab(space, 1 - labels, num_steps=30)))
    np.testing.assert_array_equal(network(reached).argmax(1) != labels, expected)
    examples = table(inputs.numpy(), labels.numpy())
    found = auto_attack([network], examples, TABLE, AutoAttack(num_steps=20, num_queries=100))
    np.testing.assert_array_equal(~found.robust, expected)
    logits = adversarial_logits([network], examples, evaluation_attacks(TABLE)["pgd_20"].attack)
    np.testing.assert_array_equal(logits.argmax(1) != labels.numpy(), expected)


def worst_in_ball_and_box(row, slopes, threat):
    """Least product with the slopes within the ball and the box: the way t that just uses up the radius, by halving."""
    scales, lower, upper = (np.array(one) for one in (threat.scales, threat.lower, threat.upper))
    kept = scales > 0
    unit = np.where(kept, scales, 1.0)

    def offset(way):
        moved = np.clip(-way * np.array(slopes) * unit, (lower - row) / unit, (upper - row) / unit)
        return np.where(kept, moved, 0.0)

    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(offset(middle)) < threat.epsilon else (low, middle)
    return float(np.dot(slopes, row + unit * offset(low)))


def test_within_a_length_projected_gradients_come_near_the_worst_point_and_never_leave_ball_or_box():
    threat = replace(TABLE, norm="l2", epsilon=0.3)
    inputs, labels = rows(), torch.ones(12, dtype=torch.int64)
    attack = Attack.against(threat, step_size=0.02, num_steps=200, start="zero")
    found = pgd(linear(*SLOPES), inputs, label_loss(labels), attack, draws())
    scales = torch.tensor(SCALES)
    assert ((found >= torch.tensor(LOWER)) & (found <= torch.tensor(UPPER))).all()
    length = torch.where(scales > 0, (found - inputs) / scales, 0.0).norm(dim=1)
    assert (length <= 0.3 + 1e-5).all()
    for row, end in zip(inputs.double().numpy(), found.double().numpy(), strict=True):
        clean, least = np.dot(SLOPES, row), worst_in_ball_and_box(row, SLOPES, threat)
        assert np.dot(SLOPES, end) >= least - 1e-4
        assert clean - np.dot(SLOPES, end) >= 0.9 * (clean - least)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["linf", "l2"]), st.floats(0, 2), st.integers(0, 1000))
def test_no_attack_leaves_a_tables_ball_or_box(norm, epsilon, seed):
    threat = replace(TABLE, norm=norm, epsilon=epsilon)
    network, inputs = linear(*np.random.default_rng(seed).normal(size=4).tolist()), rows(5, seed)
    labels = network(inputs).argmax(1)
    space = OffsetSpace.around(network, inputs, labels, threat)
    attack = Attack.against(threat, step_size=max(epsilon, 0.1), num_steps=3)
    scales = torch.tensor(SCALES)
    for reached in (
        pgd(network, inputs, label_loss(labels), attack, draws(seed)),
        space.reached(apgd(space, label_loss(labels), num_steps=3, generator=draws(seed))),
        space.reached(square(space, num_queries=5, generator=draws(seed))),
        space.reached(space.projected(fab(space, 1 - labels, num_steps=3))),
    ):
        assert ((reached >= torch.tensor(LOWER)) & (reached <= torch.tensor(UPPER))).all()
        assert torch.equal(reached[:, 2:], inputs[:, 2:])
        offsets = (reached - inputs)[:, :2] / scales[:2]
        size = offsets.abs().amax(1) if norm == "linf" else offsets.norm(dim=1)
        assert (size <= epsilon + 1e-5).all()


def test_one_number_is_the_same_as_one_alike_for_every_feature():
    inputs, labels = rows(), torch.arange(12) % 2
    single = Attack(epsilon=0.5, step_size=0.2, num_steps=3, lower=-20.0, upper=20.0)
    each = replace(single, lower=(-20.0,) * 4, upper=(20.0,) * 4, scales=(1.0,) * 4)
    mixed = replace(single, lower=(-20.0,) * 4)
    ends = [pgd(linear(*SLOPES), inputs, label_loss(labels), one, draws(3)) for one in (single, each, mixed)]
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"lower": (0.0, 0.0), "upper": (1.0, 1.0, 1.0)}, r"must be of one length, got \[2, 3\]"),
        ({"lower": (0.0, 2.0), "upper": (1.0, 1.0)}, r"got 2.0 and 1.0 for feature 1 \(from 0\)"),
        ({"lower": 2.0, "upper": (3.0, 1.0)}, r"got 2.0 and 1.0 for feature 1 \(from 0\)"),
        ({"lower": (0.0, float("nan"))}, "lower and upper must be in numbers"),
        ({"upper": float("nan")}, "lower and upper must be in numbers"),
        ({"lower": "least"}, "lower must be in numbers or 'observed', got 'least'"),
        ({"scales": "observed"}, "scales must be in numbers or 'deviation', got 'observed'"),
    ],
)
def test_limits_that_do_not_fit_each_other_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        Threat(**limits)
    with pytest.raises(ValueError, match=message):
        AAER(**limits)


def test_limits_that_do_not_fit_the_inputs_are_refused():
    inputs = rows()
    with pytest.raises(ValueError, match=r"lower must have one number per feature of a table, got 3 .* shape \(4,\)"):
        region(inputs, Threat(lower=(0.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match="upper must have one number per feature of a table"):
        region(torch.rand(2, 1, 4, 4), Threat(upper=(1.0,) * 4))
    inputs[3, 1] = 10.5
    with pytest.raises(ValueError, match=r"feature 1 \(from 0\) of inputs must lie in the attack's bounds \[-10, 10\]"):
        region(inputs, TABLE)
    with pytest.raises(ValueError, match="lower is 'observed' still"):
        region(inputs, Threat(lower="observed"))


def table(inputs, labels, weights=None):
    return Examples(
        index=ExampleIndex(f"row:{place}" for place in range(len(inputs))),
        inputs=np.asarray(inputs, dtype=np.float32),
        labels=np.asarray(labels),
        classes=("a", "b"),
        weights=weights,
    )


OBSERVED = Attack(epsilon=0.1, scales="deviation", lower="observed", upper="observed")


def test_words_become_the_numbers_of_the_rows_of_weight():
    # deviations of (0, 2, 4) and (1, 1, 1): sqrt(8 / 3) and 0; the last row has weight 0
    examples = table([[0, 1], [2, 1], [4, 1], [100, -7]], [0, 1, 0, 1], weights=np.array([1, 0.5, 2, 0], np.float32))
    found = observed_threat(OBSERVED, examples)
    assert (found.lower, found.upper) == ((0.0, 1.0), (4.0, 1.0))
    np.testing.assert_allclose(found.scales, [1.632993, 0.0], atol=1e-6)
    assert replace(found, lower="observed", upper="observed", scales="deviation") == OBSERVED
    assert observed_threat(Attack(lower=0.0), examples) == Attack(lower=0.0)


def test_words_in_a_learners_settings_become_numbers_and_other_learners_stay_the_same(train, make_table):
    examples = make_table()
    learner = observed_learner(PGDTraining(attack=OBSERVED), examples)
    assert learner.attack == observed_threat(OBSERVED, examples)
    own = observed_learner(AAER(scales="deviation", lower="observed"), examples)
    assert own.scales == learner.attack.scales
    assert own.lower == learner.attack.lower
    assert own.upper is None
    plain = PGDTraining()
    assert observed_learner(plain, examples) is plain
    margins = train(learner, examples).buffers["adversarial_margins"]
    assert (margins != 0).all()


def test_words_are_refused_for_images_and_without_rows_of_weight(make_images):
    with pytest.raises(ValueError, match=r"lower 'observed' is for tables, and these inputs have the shape \(8, 8\)"):
        observed_threat(OBSERVED, make_images())
    nothing = table([[1, 2]], [0], weights=np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="needs an example of weight above 0"):
        observed_threat(OBSERVED, nothing)


def test_a_recipe_says_limits_as_numbers_lists_or_words():
    attack = {"epsilon": 0.1, "scales": [0.5, 20, 0, 1], "lower": [0, -10, 0, 5], "upper": [1, 10, 3, 5]}
    learner = resolve.method("learner", {"method": "pgd_training", "attack": attack}, "learners.robust")
    assert learner.attack == Attack(epsilon=0.1, scales=SCALES, lower=LOWER, upper=UPPER)
    settings, _ = resolve.described("learner", {"method": "pgd_training", "attack": attack}, "learners.robust")
    assert resolve.method("learner", settings, "learner") == learner
    words = {"scales": "deviation", "lower": "observed", "upper": 7}
    assert resolve.method("learner", {"method": "aaer", **words}, "learners.fast") == AAER(
        scales="deviation", lower="observed", upper=7.0
    )
    crossed = {"lower": [1.0], "upper": [0.0]}
    with pytest.raises(ValueError, match=r"learners\.robust"):
        resolve.method("learner", {"method": "pgd_training", "attack": crossed}, "learners.robust")


def test_single_step_training_stays_in_a_tables_box():
    inputs, labels = rows(), torch.arange(12) % 2
    learner = AAER(epsilon=0.2, lower=LOWER, upper=UPPER, scales=SCALES)
    batch = Batch(inputs=inputs, labels=labels, positions=torch.arange(12), weights=torch.ones(12))
    moved, _ = learner.attacked(state_of(linear(*SLOPES), num_examples=12, num_classes=2), batch)
    box = region(inputs, TABLE)
    assert ((moved >= box.low) & (moved <= box.high)).all()
    assert torch.equal(moved[:, 2:], inputs[:, 2:])
    assert (moved[:, :2] != inputs[:, :2]).any(dim=1).all()
