import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from learners.attacks import Threat, label_loss
from learners.auto_attack.apgd import apgd, checkpoints
from learners.auto_attack.ensemble import ATTACKS, AutoAttack, auto_attack
from learners.auto_attack.fab import fab, shortest_way
from learners.auto_attack.logit_ratios import (
    likeliest_others,
    logit_ratio,
    targeted_logit_ratio,
    targeted_objective,
)
from learners.auto_attack.offsets import OffsetSpace
from learners.auto_attack.pyramids import pyramid, pyramid_pair, tile_grid, tiled
from learners.auto_attack.square import share_at, square
from learners.evaluate import accuracy, predict_logits
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.robustness import adversarial_logits, evaluation_attacks
from storage.index import ExampleIndex
from storage.values import Examples

SHORT = AutoAttack(num_steps=20, num_targets=3, num_queries=60)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(num_features=6, num_classes=4, seed=0):
    network = nn.Linear(num_features, num_classes).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws(seed)))
    return network


def spread_inputs(num_examples=40, num_features=6, seed=1):
    return torch.rand(num_examples, num_features, generator=draws(seed), dtype=torch.float64)


def least_margins(network, inputs, labels, threat):
    """Closed form for a linear network: the least of label logit minus other logit over the box or the ball."""
    weight, bias = network.weight.detach(), network.bias.detach()
    lowest = []
    for row, label in zip(inputs, labels, strict=True):
        margins = []
        for other in range(len(weight)):
            if other == label:
                continue
            slope = weight[label] - weight[other]
            at_input = slope @ row + bias[label] - bias[other]
            if threat.norm == "l2":
                fall = threat.epsilon * slope.norm()
            else:
                lower, upper = threat.bounds(inputs)
                down = torch.minimum(row - lower, torch.tensor(threat.epsilon))
                up = torch.minimum(upper - row, torch.tensor(threat.epsilon))
                fall = (slope.abs() * torch.where(slope > 0, down, up)).sum()
            margins.append(float(at_input - fall))
        lowest.append(min(margins))
    return np.array(lowest)


THREATS = {
    "linf": Threat(epsilon=0.15),
    "linf in a box": Threat(epsilon=0.2, lower=0.0, upper=1.0),
    "l2": Threat(norm="l2", epsilon=0.35),
}


def test_step_lengths_are_looked_at_after_the_steps_of_the_paper():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(1) == (1,)
    assert checkpoints(3) == (1, 2, 3)


def test_difference_of_logits_ratio_by_hand():
    logits = torch.tensor([[3.0, 1.0, 0.5, 0.0]])
    # (1 - 3) / (3 - 0.5) = -0.8 for the winner, (3 - 1) / 2.5 = 0.8 for the runner-up
    assert float(logit_ratio(logits, torch.tensor([0]))) == pytest.approx(-0.8)
    assert float(logit_ratio(logits, torch.tensor([1]))) == pytest.approx(0.8)
    # (1 - 3) / (3 - (0.5 + 0) / 2) = -2 / 2.75; towards the last class (0 - 3) / 2.75
    assert float(targeted_logit_ratio(logits, torch.tensor([0]), torch.tensor([1]))) == pytest.approx(-0.727273)
    assert float(targeted_logit_ratio(logits, torch.tensor([0]), torch.tensor([3]))) == pytest.approx(-1.090909)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-50, 50))
def test_the_ratio_is_blind_to_scale_and_shift_and_positive_where_the_label_loses(seed, factor, shift):
    logits = torch.randn(4, 5, generator=draws(seed), dtype=torch.float64)
    labels, targets = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 0, 1, 2])
    torch.testing.assert_close(logit_ratio(factor * logits + shift, labels), logit_ratio(logits, labels))
    torch.testing.assert_close(
        targeted_logit_ratio(factor * logits + shift, labels, targets), targeted_logit_ratio(logits, labels, targets)
    )
    assert torch.equal(logit_ratio(logits, labels) > 0, logits.argmax(1) != labels)


def test_too_few_classes_are_refused_by_the_ratios_and_served_by_the_objective():
    labels, targets = torch.tensor([0]), torch.tensor([1])
    with pytest.raises(ValueError, match="needs at least 3 classes, got 2"):
        logit_ratio(torch.zeros(1, 2), labels)
    with pytest.raises(ValueError, match="needs at least 4 classes, got 3"):
        targeted_logit_ratio(torch.zeros(1, 3), labels, targets)
    objective = targeted_objective(labels, targets)
    assert float(objective(torch.tensor([[2.0, 0.5, 9.0]]))) == -1.5
    assert float(objective(torch.tensor([[3.0, 1.0, 0.5, 0.0]]))) == pytest.approx(-0.727273)


def test_targets_are_the_largest_other_logits_in_order():
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 1.0, 4.0]])
    assert likeliest_others(logits, torch.tensor([0, 3]), 2).tolist() == [[2, 1], [1, 2]]


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)
def test_the_ensemble_finds_the_robust_accuracy_of_a_linear_network_in_closed_form(threat):
    network, inputs = linear().float(), spread_inputs().float()
    labels = network(inputs).argmax(1).numpy()
    labels[:4] = (labels[:4] + 1) % 4
    examples = table(inputs.numpy(), labels)
    expected = least_margins(network, inputs, labels, threat) > 0
    found = auto_attack([network], examples, threat, SHORT)
    np.testing.assert_array_equal(found.robust, expected)
    assert 0.1 < found.robust_accuracy == expected.mean() < 0.9
    assert (found.broken_by[:4] == -2).all()


def table(inputs, labels, num_classes=4):
    return Examples(
        index=ExampleIndex(f"row:{place}" for place in range(len(inputs))),
        inputs=inputs.astype(np.float32),
        labels=labels.astype(np.int64),
        classes=tuple("abcdefgh"[:num_classes]),
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_apgd_reaches_the_worst_point_of_a_two_class_linear_network(norm):
    # w = (1, -2), x = (0.5, 0.2): the worst change is -0.1 * (1, -1) or -0.1 * (1, -2) / sqrt(5)
    network = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[-0.5, 1.0], [0.5, -1.0]]))
    labels, inputs = torch.tensor([1]), torch.tensor([[0.5, 0.2]], dtype=torch.float64)
    # far from the boundary the attack must not stop early: the margin 0.1 is made 10 by a bias on the label
    shifted = nn.Sequential(network, _Bias(torch.tensor([0.0, 10.0])))
    space = OffsetSpace.around(shifted, inputs, labels, Threat(norm=norm, epsilon=0.1))
    found = apgd(space, label_loss(labels), num_steps=30, generator=draws())
    expected = [[-0.1, 0.1]] if norm == "linf" else [[-0.044721, 0.089443]]
    np.testing.assert_allclose(found, expected, atol=2e-4)


class _Bias(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.register_buffer("shift", shift)

    def forward(self, logits):
        return logits + self.shift


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_moves_a_linear_network_by_no_more_than_the_distance_to_its_boundary(norm):
    network, inputs = linear(num_classes=2), spread_inputs()
    labels = network(inputs).argmax(1)
    slope = network.weight[1] - network.weight[0]
    dual = slope.abs().sum() if norm == "linf" else slope.norm()
    margins = (network(inputs).gather(1, labels[:, None]) - network(inputs).gather(1, 1 - labels[:, None]))[:, 0]
    # A radius of 0 makes the search go on for the smallest offset.
    space = OffsetSpace.around(network, inputs, labels, Threat(norm=norm, epsilon=0.0))
    sizes = space.sizes(fab(space, 1 - labels, num_steps=30))
    distances = (margins / dual).detach()
    assert (sizes >= distances - 1e-12).all()
    assert (sizes <= 1.051 * distances).all()


def test_a_shortest_way_does_not_depend_on_the_rows_beside_it():
    # The first row cannot rise by 5; the second stops at 0.1, then at 1.2, and its third feature goes the rest.
    slopes = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    most = torch.tensor([[1.0, 1.0, 1.0], [0.1, 1.2, 10.0]])
    rises = torch.tensor([5.0, 3.0])
    for norm in ("linf", "l2"):
        moves = shortest_way(slopes, rises, torch.zeros(2, 3), most, norm)
        torch.testing.assert_close(moves, torch.tensor([[1.0, 0.0, 1.0], [0.1, 1.2, 1.7]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["linf", "l2"]))
def test_the_shortest_way_in_a_box_is_that_of_a_slow_solver(seed, norm):
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=5) * (rng.random(5) > 0.2)
    least, most = -rng.random(5), rng.random(5)
    if seed % 3 == 0:
        least[:3], most[2:] = -np.inf, np.inf
    rise = float(rng.normal())
    tensors = [torch.tensor(one)[None] for one in (slopes, least, most)]
    move = shortest_way(tensors[0], torch.tensor([rise], dtype=torch.float64), *tensors[1:], norm)[0].numpy()
    assert np.isfinite(move).all()
    assert (move >= least).all()
    assert (move <= most).all()
    room = np.where(slopes * rise > 0, most, -least)
    reachable = sum(abs(slope) * far for slope, far in zip(slopes, room, strict=True) if slope)
    if reachable <= abs(rise):
        for slope, far, one in zip(slopes, room, move, strict=True):
            assert one == pytest.approx(np.sign(slope * rise) * far if slope else 0.0)
        return
    assert slopes @ move == pytest.approx(rise)
    if norm == "linf":
        columns = np.eye(5)
        answer = linprog(
            np.r_[np.zeros(5), 1],
            A_ub=np.block([[columns, -np.ones((5, 1))], [-columns, -np.ones((5, 1))]]),
            b_ub=np.zeros(10),
            A_eq=[np.r_[slopes, 0]],
            b_eq=[rise],
            bounds=[*zip(least, most, strict=True), (0, None)],
        )
        assert np.abs(move).max() == pytest.approx(answer.fun, abs=1e-8)
    else:
        # The nearest point of a plane in a box is clip(t * slope) for the one t that meets the plane.
        low, high = -1e9, 1e9
        for _ in range(100):
            middle = (low + high) / 2
            short = np.clip(middle * slopes, least, most) @ slopes < rise
            low, high = (middle, high) if short else (low, middle)
        np.testing.assert_allclose(move, np.clip(high * slopes, least, most), atol=1e-6)


def test_the_share_of_a_square_is_halved_as_in_the_paper():
    found = [share_at(query, 10_000) for query in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)]
    assert found == [0.8, 0.8, *(0.8 / 2**power for power in range(1, 10))]
    assert share_at(4001, 5000) == share_at(8002, 10_000)


def test_pyramids_by_hand():
    # 3 x 3: the middle holds 1 + 1/4, its ring 1/4; length sqrt(1.25^2 + 8 / 16) = 1.436141
    np.testing.assert_allclose(pyramid(3, 3)[1], [0.174078, 0.870388, 0.174078], atol=1e-6)
    np.testing.assert_allclose(pyramid(3, 3)[0], [0.174078] * 3, atol=1e-6)
    for side in (1, 2, 3, 7):
        pair = pyramid_pair(side)
        assert pair.shape == (side, side)
        assert float(pair.norm()) == pytest.approx(1.0)
        assert (pair[: side // 2] > 0).all()
        assert (pair[side // 2 :] < 0).all()
    image = tiled((2, 9, 12), torch.ones(2, *tile_grid(9, 12)))
    assert tile_grid(9, 12) == (9, 12)
    assert image.shape == (2, 9, 12)
    assert float(tiled((1, 10, 10), torch.ones(1, 5, 5)).norm()) == pytest.approx(5.0)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["linf", "l2"]),
    st.floats(0, 0.6),
    st.integers(0, 1000),
    st.sampled_from([(5, 7), (5, 2, 6, 6)]),
)
def test_no_attack_leaves_the_ball_or_the_bounds(norm, epsilon, seed, shape):
    inputs = torch.rand(shape, generator=draws(seed))
    network = nn.Sequential(nn.Flatten(), linear(int(np.prod(shape[1:])), 4, seed).float())
    labels = network(inputs).argmax(1)
    threat = Threat(norm=norm, epsilon=epsilon, lower=0.0, upper=1.0)
    space = OffsetSpace.around(network, inputs, labels, threat)
    targets = (labels + 1) % 4
    for offsets in (
        apgd(space, label_loss(labels), num_steps=5, generator=draws(seed)),
        square(space, num_queries=10, generator=draws(seed)),
        space.projected(fab(space, targets, num_steps=5)),
    ):
        reached = space.reached(offsets)
        change = (reached - inputs).flatten(1)
        size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
        assert (size <= epsilon + 1e-6).all()
        assert (reached >= 0).all()
        assert (reached <= 1).all()


@pytest.fixture
def trained(train, make_table):
    examples = make_table(num_classes=4, spread=1.0)
    return train(ERM(), examples, epochs=20).models, examples


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_ensemble_is_at_least_as_strong_as_projected_gradients_and_its_accuracies_never_rise(trained, norm):
    models, examples = trained
    threat = Threat(norm=norm, epsilon=0.4 if norm == "linf" else 0.6)
    result = auto_attack(models, examples, threat, SHORT)
    assert result.clean_accuracy == accuracy(predict_logits(models, examples), examples.labels)
    falls = [result.clean_accuracy, *result.accuracy_after.values()]
    assert falls == sorted(falls, reverse=True)
    assert list(result.accuracy_after) == list(ATTACKS)
    assert result.accuracy_after["square"] == result.robust_accuracy
    assert result.robust_accuracy == accuracy(result.logits, examples.labels) < result.clean_accuracy
    for named in evaluation_attacks(threat).values():
        logits = adversarial_logits(
            models, examples, named.attack, objective=named.objective, num_restarts=named.num_restarts
        )
        assert result.robust_accuracy <= accuracy(logits, examples.labels)


def test_the_same_seed_gives_the_same_bytes_and_the_global_generator_stays(trained):
    models, examples = trained
    before = torch.get_rng_state()
    one, same = (auto_attack(models, examples, Threat(epsilon=0.4), SHORT, seed=5) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(one.logits, same.logits)
    np.testing.assert_array_equal(one.broken_by, same.broken_by)
    other = auto_attack(models, examples, Threat(epsilon=0.4), SHORT, seed=6)
    assert not np.array_equal(one.logits, other.logits)


def test_a_radius_of_zero_breaks_nothing(trained):
    models, examples = trained
    result = auto_attack(models, examples, Threat(epsilon=0.0), SHORT)
    assert result.robust_accuracy == result.clean_accuracy
    np.testing.assert_allclose(result.logits, predict_logits(models, examples), atol=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_few_classes_are_attacked_too(train, make_table, num_classes):
    examples = make_table(num_classes=num_classes, spread=1.0)
    models = train(ERM(), examples, epochs=10).models
    result = auto_attack(models, examples, Threat(epsilon=20.0), SHORT)
    assert result.robust_accuracy == 0.0
    assert auto_attack(models, examples, Threat(epsilon=0.01), SHORT).robust_accuracy > 0.5


def test_the_scale_of_the_logits_hides_nothing_from_the_ensemble(trained):
    models, examples = trained
    threat = Threat(epsilon=0.4)
    found = [
        auto_attack([nn.Sequential(models[0], _Factor(factor))], examples, threat, SHORT).robust_accuracy
        for factor in (0.01, 1.0, 100.0)
    ]
    assert max(found) - min(found) <= 1 / len(examples) + 1e-9


class _Factor(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, logits):
        return self.factor * logits


def test_the_square_attack_breaks_what_has_no_gradients(trained):
    models, examples = trained
    blind = nn.Sequential(models[0], _Rounded())
    result = auto_attack([blind], examples, Threat(epsilon=0.6), AutoAttack(num_steps=5, num_queries=400))
    assert result.accuracy_after["fab_targeted"] > result.robust_accuracy + 0.05


class _Rounded(nn.Module):
    def forward(self, logits):
        return (4 * logits).round() / 4


def test_a_rows_result_of_the_square_attack_does_not_depend_on_the_rows_beside_it():
    network, inputs = linear(8 * 8 * 2, 3).float(), torch.rand(6, 2, 8, 8, generator=draws(3))
    network = nn.Sequential(nn.Flatten(), network)
    labels = network(inputs).argmax(1)
    for norm, epsilon in (("linf", 0.02), ("l2", 0.2)):
        space = OffsetSpace.around(network, inputs, labels, Threat(norm=norm, epsilon=epsilon))
        together = square(space, num_queries=40, generator=draws())
        alone = square(space.take(torch.tensor([2])), num_queries=40, generator=draws())
        torch.testing.assert_close(together[2:3], alone)


def test_images_are_attacked_and_the_network_is_left_as_it_was(make_images):
    examples = make_images()
    network = SmallCNN(width=4, hidden=8).build(examples, seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    auto_attack([network], examples, Threat(epsilon=0.05), SHORT)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_feature_of_scale_zero_stays_and_scales_stretch_the_ball():
    network, inputs = linear(3, 4).float(), spread_inputs(10, 3).float()
    labels = network(inputs).argmax(1)
    threat = Threat(epsilon=0.5, scales=(0.0, 1.0, 2.0))
    space = OffsetSpace.around(network, inputs, labels, threat)
    for offsets in (
        apgd(space, label_loss(labels), num_steps=10, generator=draws()),
        square(space, num_queries=20, generator=draws()),
        space.projected(fab(space, (labels + 1) % 4, num_steps=10)),
    ):
        change = (space.reached(offsets) - inputs).abs()
        assert (change[:, 0] == 0).all()
        assert (change <= torch.tensor([0.0, 0.5, 1.0]) + 1e-6).all()


def test_what_cannot_be_attacked_is_refused(make_table):
    examples = make_table()
    network = MLP(widths=()).build(examples, 0)
    with pytest.raises(ValueError, match="num_targets must be at least 1, got 0"):
        AutoAttack(num_targets=0)
    unlabelled = Examples(index=examples.index, inputs=examples.inputs, labels=None, classes=())
    with pytest.raises(ValueError, match="an attack needs labels, and these examples have none"):
        auto_attack([network], unlabelled, Threat())
    with pytest.raises(ValueError, match="inputs must lie in the attack's bounds"):
        auto_attack([network], examples, Threat(lower=0.0, upper=1.0))
