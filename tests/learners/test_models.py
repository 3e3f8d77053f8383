import numpy as np
import pytest
import safetensors.numpy
import torch

from learners.checkpoint import load_model, save_state
from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.image_inputs import channel_statistics
from learners.methods.erm import ERM
from learners.model import Standardize
from learners.models.embedding_head import EmbeddingHead, UnitLength
from learners.models.mlp import MLP
from learners.models.preact_resnet18 import PreActResNet18
from learners.models.small_cnn import SmallCNN
from learners.models.wide_resnet import WideResNet
from learners.randomness import generator
from learners.residual import PreActivationBlock
from learners.training import Training
from storage.values import Examples


def test_standardised_features_have_mean_0_and_deviation_1_over_kept_rows(make_table):
    weights = np.ones(60, np.float32)
    weights[:20] = 0
    examples = make_table(weights=weights)
    layer = MLP().build(examples, seed=0)[0]
    assert isinstance(layer, Standardize)
    standardised = layer(torch.from_numpy(examples.inputs[20:])).numpy()
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-5)


def test_a_constant_feature_becomes_zero(make_table):
    examples = make_table()
    examples.inputs[:, 1] = 7.0
    layer = MLP().build(examples, seed=0)[0]
    np.testing.assert_allclose(layer(torch.from_numpy(examples.inputs))[:, 1], 0, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 3)])
def test_channel_statistics_equal_those_of_the_scaled_pixels(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    pixels = images.reshape(-1, shape[3] if len(shape) == 4 else 1) / 255
    mean, deviation = channel_statistics(images)
    np.testing.assert_allclose(mean[:, 0, 0], pixels.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(deviation[:, 0, 0], pixels.std(axis=0), atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 32, 3), (9, 17)])
def test_small_cnn_takes_images_of_these_shapes(make_images, shape):
    examples = make_images(num_examples=6, shape=shape)
    assert predict_logits([SmallCNN(width=4, hidden=8).build(examples, seed=0)], examples).shape == (6, 2)


TINY = [
    MLP(widths=(8,)),
    SmallCNN(width=4, hidden=8),
    PreActResNet18(width=2),
    WideResNet(depth=10, widen_factor=1, dropout=0.2),
    EmbeddingHead(widths=(8,), dropout=0.2),
    EmbeddingHead(scaling="standard"),
]


@pytest.mark.parametrize("model", TINY, ids=str)
def test_weights_follow_from_the_seed_and_leave_the_global_generator_alone(make_table, make_images, model):
    examples = make_table() if isinstance(model, MLP | EmbeddingHead) else make_images()
    before = torch.get_rng_state()
    one, same, other = (model.build(examples, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_a_table_given_to_the_image_model_is_refused(make_table):
    with pytest.raises(ValueError, match=r"small_cnn reads images .* got inputs of shape \(60, 4\); use mlp"):
        SmallCNN().build(make_table(), seed=0)


def test_images_given_to_the_table_model_are_refused(make_images):
    with pytest.raises(ValueError, match=r"mlp reads tables .* got inputs of shape \(40, 8, 8\); use small_cnn"):
        MLP().build(make_images(), seed=0)


def test_images_too_small_for_three_halvings_are_refused(make_images):
    with pytest.raises(ValueError, match="at least 8x8 pixels, got 6x8"):
        SmallCNN().build(make_images(shape=(6, 8)), seed=0)


@pytest.mark.parametrize("settings", [{"width": 0}, {"hidden": 0}])
def test_cnn_widths_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        SmallCNN(**settings)


def test_mlp_widths_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"widths must each be at least 1, got \(4, 0\)"):
        MLP(widths=(4, 0))


def test_pixels_of_rows_of_weight_0_do_not_move_the_standardisation(make_images):
    examples = make_images(weights=(np.arange(40) >= 10).astype(np.float32))
    before = SmallCNN(width=4, hidden=8).build(examples, seed=0)[0]
    examples.inputs[:10] = 255
    after = SmallCNN(width=4, hidden=8).build(examples, seed=0)[0]
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.scale, after.scale)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # 11.17 million, as for every PreAct-ResNet-18 with a 3x3 stem, of which 1024 in the last normalisation
        (PreActResNet18(), 11_172_170),
        # The paper's table 1 has 36.5, 8.9 and 11.0 million; 46.2 million is the network of TRADES
        (WideResNet(), 36_479_194),
        (WideResNet(depth=40, widen_factor=4), 8_949_210),
        (WideResNet(depth=16, widen_factor=8), 10_961_370),
        (WideResNet(depth=34), 46_160_474),
    ],
    ids=str,
)
def test_residual_networks_have_the_published_number_of_weights(make_images, model, count):
    ten = ten_classes(make_images(num_examples=10, shape=(32, 32, 3)))
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "contiguous", lambda tensor, **_: tensor)
        network = model.build(ten, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def ten_classes(examples):
    return Examples(
        index=examples.index,
        inputs=examples.inputs,
        labels=np.arange(len(examples)) % 10,
        classes=tuple("0123456789"),
    )


@pytest.mark.parametrize(
    ("model", "sides"),
    [(PreActResNet18(width=2), [8, 8, 4, 2, 1]), (WideResNet(depth=16, widen_factor=1), [8, 8, 4, 2])],
)
def test_every_stage_but_the_first_halves_the_image(make_images, model, sides):
    examples = make_images()
    layers = model.build(examples, seed=0)
    seen, values = [], torch.zeros(2, 1, 8, 8)
    for layer in list(layers)[1:]:
        values = layer(values)
        if values.ndim == 4 and (not seen or values.shape[1:] != seen[-1]):
            seen.append(values.shape[1:])
    assert list(dict.fromkeys(shape[1] for shape in seen)) == list(dict.fromkeys(sides))
    assert all(shape[1] == shape[2] for shape in seen)


def test_a_pre_activation_block_with_silent_convolutions_is_the_identity():
    block = PreActivationBlock(3, 3, stride=1, dropout=0.0).eval()
    torch.nn.init.zeros_(block.second.weight)
    inputs = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert block.shortcut is None
    assert torch.equal(block(inputs), inputs)
    assert PreActivationBlock(3, 6, stride=2, dropout=0.0)(inputs).shape == (2, 6, 2, 2)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 32, 3), (9, 17)])
@pytest.mark.parametrize("model", TINY[2:4], ids=str)
def test_residual_networks_take_images_of_these_shapes(make_images, model, shape):
    examples = make_images(num_examples=6, shape=shape)
    assert predict_logits([model.build(examples, seed=0)], examples).shape == (6, 2)


@pytest.mark.parametrize("model", TINY[2:], ids=str)
def test_one_step_moves_every_weight_and_a_checkpoint_brings_the_network_back(make_table, make_images, model):
    examples = make_table() if isinstance(model, EmbeddingHead) else make_images()
    training = Training(epochs=1, batch_size=64)
    state = next(fit(ERM(), examples, model=model, training=training, seed=0)).state
    checkpoint = save_state(state)
    bytes_ = safetensors.numpy.save(dict(checkpoint.arrays))
    fresh = model.build(examples, seed=int(generator(0, "model", 0).integers(2**63)))
    moved = [
        not torch.equal(one, other) for one, other in zip(fresh.parameters(), state.models[0].parameters(), strict=True)
    ]
    assert all(moved)
    load_model(fresh, safetensors.numpy.load(bytes_), model=0)
    np.testing.assert_array_equal(predict_logits([fresh], examples), predict_logits(state.models, examples))


@pytest.mark.parametrize("model", TINY[2:], ids=str)
def test_the_models_learn_a_separable_toy(make_table, make_images, model):
    examples = make_table() if isinstance(model, EmbeddingHead) else make_images()
    training = Training(epochs=15, batch_size=16, learning_rate=0.05)
    state = list(fit(ERM(), examples, model=model, training=training, seed=0))[-1].state
    assert accuracy(predict_logits(state.models, examples), examples.labels) > 0.9


def test_embeddings_of_unit_length_do_not_depend_on_their_scale(make_table):
    examples = make_table()
    rows = UnitLength()(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    # (3, 4) / 5 * sqrt(2)
    np.testing.assert_allclose(rows, [[0.848528, 1.131371], [0.0, 0.0]], atol=1e-6)
    network = EmbeddingHead().build(examples, seed=0)
    inputs = torch.from_numpy(examples.inputs)
    torch.testing.assert_close(network(inputs), network(7 * inputs))
    assert len(EmbeddingHead(scaling="none").build(examples, seed=0)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WideResNet(depth=30), r"depth must be 6 \* n \+ 4 .* got 30"),
        (lambda: WideResNet(widen_factor=0), "widen_factor must be at least 1, got 0"),
        (lambda: WideResNet(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: PreActResNet18(width=0), "width must be at least 1, got 0"),
        (lambda: EmbeddingHead(scaling="unity"), "scaling must be one of unit, standard, none, got 'unity'"),
        (lambda: EmbeddingHead(widths=(0,)), "widths must each be at least 1"),
        (lambda: EmbeddingHead(dropout=-0.1), r"dropout must be in \[0, 1\), got -0.1"),
    ],
)
def test_settings_of_the_further_models_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_further_models_refuse_inputs_of_another_kind(make_table, make_images):
    with pytest.raises(ValueError, match="model preact_resnet18 reads images"):
        PreActResNet18().build(make_table(), seed=0)
    with pytest.raises(ValueError, match="model wide_resnet reads images of at least 8x8 pixels, got 6x8"):
        WideResNet().build(make_images(shape=(6, 8)), seed=0)
    with pytest.raises(ValueError, match="model embedding_head reads embeddings"):
        EmbeddingHead().build(make_images(), seed=0)
