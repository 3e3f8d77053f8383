import numpy as np
import pytest
import torch
from torch import nn

from learners.batches import input_tensor
from learners.evaluate import predict_logits
from learners.features import evaluated
from learners.fit import fit
from learners.gradient_norms import gradient_norms
from learners.methods.erm import ERM
from learners.models.embedding_head import EmbeddingHead
from learners.models.mlp import MLP
from learners.models.preact_resnet18 import PreActResNet18
from learners.models.small_cnn import SmallCNN
from learners.models.wide_resnet import WideResNet
from learners.signals import Recorder
from learners.training import Training

TABLES = [MLP(widths=(8, 6)), MLP(widths=()), EmbeddingHead(widths=(5,), dropout=0.3), EmbeddingHead()]
IMAGES = [SmallCNN(width=2, hidden=8), PreActResNet18(width=2), WideResNet(depth=10, widen_factor=1, dropout=0.3)]


@pytest.fixture(params=[*TABLES, *IMAGES], ids=lambda model: f"{type(model).__name__}")
def built(request, make_table, make_images):
    """A network in training mode whose statistics have seen a batch, and examples for it."""
    model = request.param
    examples = make_table(num_examples=12) if model in TABLES else make_images(num_examples=12, shape=(8, 8))
    network = model.build(examples, 3)
    inputs = input_tensor(examples.inputs)
    with torch.no_grad():
        network(torch.rand(4, 1, 8, 8) if model in IMAGES else inputs[:4])
    return network, inputs, examples


def test_features_are_what_the_last_layer_makes_the_logits_of(built):
    network, inputs, examples = built
    found = evaluated([network], inputs, ("logits", "feature_norm", "embedding"), 5)
    assert network.training
    np.testing.assert_array_equal(found["logits"].numpy(), predict_logits([network], examples, batch_size=5))
    last = network[-1]
    by_hand = found["embedding"].double() @ last.weight.detach().double().T + last.bias.detach().double()
    np.testing.assert_allclose(found["logits"], by_hand, atol=1e-5)
    np.testing.assert_allclose(found["feature_norm"], np.linalg.norm(found["embedding"], axis=1), rtol=1e-6)


def test_gradient_norms_are_those_of_one_backward_pass_for_each_example(built):
    network, inputs, examples = built
    before = {name: one.clone() for name, one in network.state_dict().items()}
    labels = torch.from_numpy(examples.labels)
    found = gradient_norms([network], inputs, labels)
    assert all(torch.equal(before[name], one) for name, one in network.state_dict().items())
    assert network.training
    assert all(one.grad is None for one in network.parameters())
    network.eval()
    for row in range(len(examples)):
        one = inputs[row : row + 1]
        batch = one / 255 if one.dtype == torch.uint8 else one
        loss = nn.functional.cross_entropy(network(batch[:, None] if batch.ndim == 3 else batch), labels[row : row + 1])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        slow = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert float(found[row]) == pytest.approx(float(slow), rel=1e-4, abs=1e-6)


def test_chunks_do_not_change_gradient_norms(make_table, monkeypatch):
    examples = make_table(num_examples=20)
    network, inputs = MLP(widths=(8,)).build(examples, 0), input_tensor(examples.inputs)
    labels = torch.from_numpy(examples.labels)
    whole = gradient_norms([network], inputs, labels)
    monkeypatch.setattr("learners.gradient_norms.NUMBERS_AT_ONCE", 1)
    np.testing.assert_allclose(gradient_norms([network], inputs, labels), whole, rtol=1e-5)


def test_of_logistic_regression_the_last_layer_is_all_there_is(make_table):
    examples = make_table(num_examples=20)
    network, inputs = MLP(widths=()).build(examples, 0), input_tensor(examples.inputs)
    found = evaluated([network], inputs, ("logits", "feature_norm"), 500)
    errors = torch.softmax(found["logits"], dim=1)
    errors[torch.arange(20), examples.labels] -= 1
    last_layer = errors.norm(dim=1) * (found["feature_norm"] ** 2 + 1).sqrt()
    np.testing.assert_allclose(
        gradient_norms([network], inputs, torch.from_numpy(examples.labels)), last_layer, rtol=1e-5
    )


def test_of_two_networks_the_mean_logits_are_linear_in_features_side_by_side(make_table):
    examples = make_table(num_examples=20)
    networks = [MLP(widths=(width,)).build(examples, width) for width in (4, 6)]
    found = evaluated(networks, input_tensor(examples.inputs), ("logits", "embedding"), 500)
    assert found["embedding"].shape == (20, 10)
    weights = torch.cat([network[-1].weight for network in networks], dim=1).detach()
    bias = sum(network[-1].bias.detach() for network in networks) / 2
    np.testing.assert_allclose(found["embedding"] @ weights.T + bias, found["logits"], atol=1e-5)
    np.testing.assert_array_equal(found["logits"], predict_logits(networks, examples))


def test_all_signals_of_a_network_are_recorded_in_plain_training(make_table):
    examples = make_table(num_examples=20)
    choice = {"logits": (1, 2), "feature_norm": (2,), "embedding": (1,), "grad_norm": (2,)}
    recorder = Recorder(choice)
    run = fit(
        ERM(), examples, model=MLP(widths=(8,)), training=Training(epochs=2, batch_size=8), seed=0, recorder=recorder
    )
    inputs, labels = input_tensor(examples.inputs), torch.from_numpy(examples.labels)
    slow = {}
    for report in run:
        of_epoch = evaluated(report.state.models, inputs, ("logits", "feature_norm", "embedding"), 500)
        slow[report.epoch] = {**of_epoch, "grad_norm": gradient_norms(report.state.models, inputs, labels)}
    recorded = recorder.result()
    assert {name: array.shape for name, array in recorded.arrays.items()} == {
        **{"logits": (20, 2, 3), "feature_norm": (20, 1)},
        **{"embedding": (20, 1, 8), "grad_norm": (20, 1)},
    }
    for name, epochs in choice.items():
        for place, epoch in enumerate(epochs):
            np.testing.assert_array_equal(recorded.arrays[name][:, place], slow[epoch][name])


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs):
        return 2 * self.layer(inputs)


@pytest.mark.parametrize("network", [Doubled(), nn.Sequential(nn.Flatten(), nn.ReLU())])
def test_features_of_a_network_that_ends_otherwise_are_refused_before_training(network):
    recorder = Recorder({"feature_norm": (1,)})
    with pytest.raises(ValueError, match=r"what enters the linear layer whose outputs are the logits, and \w+ has no"):
        recorder.check_networks([network], torch.rand(2, 4))
    Recorder({"logits": (1,), "grad_norm": (1,)}).check_networks([network], torch.rand(2, 4))
