import textwrap

import numpy as np
import pytest
import torch

from flows import resolve
from flows.config import apply_overrides, load_recipe
from learners.evaluate import predict_logits
from learners.models import factory
from learners.models.factory import Factory

NETS = """
    import torch
    from torch import nn

    CONSTANT = 3

    def make(input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))

    def too_many(input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes + 1))

    def for_images(input_shape, num_classes):
        return nn.Conv2d(1, num_classes, 3)

    def no_network(input_shape, num_classes):
        return [1, 2]

    def two_results(input_shape, num_classes):
        class Both(nn.Linear):
            def forward(self, inputs):
                return inputs, inputs
        return Both(1, 1)

    def not_finite(input_shape, num_classes):
        class Broken(nn.Linear):
            def forward(self, inputs):
                return torch.full((len(inputs), num_classes), torch.nan)
        return Broken(1, 1)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """Writes the source of a fresh package, importable as `own_nets_<number>.nets`, and gives its path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(number, source=NETS):
        package = tmp_path / f"own_nets_{number}"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "nets.py").write_text(textwrap.dedent(source))
        return f"{package.name}.nets"

    return write


def test_the_users_network_is_built_from_the_shape_and_the_classes(nets, make_table, make_images):
    model = Factory(factory=f"{nets(1)}:make")
    for examples, features in ((make_table(), 4), (make_images(), 64), (make_images(shape=(8, 9, 3)), 216)):
        network = model.build(examples, seed=0)
        assert network[1].in_features == features
        assert predict_logits([network], examples).shape == (len(examples), examples.num_classes)


def test_weights_follow_from_the_seed_and_the_mode_stays(nets, make_table):
    model, before = Factory(factory=f"{nets(2)}:make"), torch.get_rng_state()
    one, same, other = (model.build(make_table(), seed)[1].weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert model.build(make_table(), 0).training


def test_the_source_of_the_users_file_is_a_setting(nets):
    same = [Factory(factory=f"{nets(number)}:make") for number in (3, 4)]
    other = Factory(factory=f"{nets(5, NETS.replace('CONSTANT = 3', 'CONSTANT = 4'))}:make")
    assert same[0].source == same[1].source != other.source
    described, _ = resolve.described("model", {"method": "factory", "factory": same[0].factory}, "model")
    assert described == {"method": "factory", "factory": same[0].factory, "source": same[0].source}
    assert resolve.method("model", described, "model") == same[0]


def test_a_stored_model_whose_code_has_changed_is_refused(nets):
    path = nets(6)
    with pytest.raises(
        ValueError, match=f"the code of {path}:make has changed: .*by source abc, and the source is now"
    ):
        Factory(factory=f"{path}:make", source="abc")


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("too_many", ValueError, r"must return logits of shape \(2, 3\) for inputs of shape \(2, 4\), got \(2, 4\)"),
        ("for_images", ValueError, r"cannot read inputs of shape \(2, 4\): "),
        ("no_network", TypeError, "must return a torch.nn.Module, got list"),
        ("two_results", ValueError, r"must return logits of shape \(2, 3\) .* got tuple"),
        ("not_finite", ValueError, "returns logits that are not finite"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(nets, make_table, function, error, message):
    model = Factory(factory=f"{nets(function)}:{function}")
    with pytest.raises(error, match=message):
        model.build(make_table(), seed=0)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nets", "factory must be module:function, such as my_pkg.nets:make, got 'nets'"),
        ("../nets:make", "factory must be module:function"),
        ("nets:make()", "factory must be module:function"),
        ("no_such_nets:make", "there is no module 'no_such_nets'; install it, or put its folder on PYTHONPATH"),
        ("json:make", "json has no function 'make'; it has .*dumps"),
        ("json:decoder", "json has no function 'decoder'"),
        ("math:sqrt", "math has no Python source to hash"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path, message):
    with pytest.raises(ValueError, match=message):
        Factory(factory=path)


def test_a_recipes_model_is_replaced_whole_by_a_factory(nets):
    path = nets(7)
    recipe = load_recipe("digits", [f"model.factory={path}:make"])
    assert recipe.model == {"method": "factory", "factory": f"{path}:make"}
    assert apply_overrides({"model": {"method": "mlp", "widths": [4]}}, ["model.widths=[8]"])["model"]["widths"] == [8]
    assert factory.__doc__


def test_logits_of_a_users_network_are_the_networks_own(nets, make_table):
    examples = make_table()
    network = Factory(factory=f"{nets(8)}:make").build(examples, seed=0)
    expected = network(torch.from_numpy(examples.inputs)).detach().numpy()
    np.testing.assert_allclose(predict_logits([network], examples), expected, atol=1e-6)
