import numpy as np
import pytest
import torch

from learners.evaluate import predict_logits
from learners.model import Standardize
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN, channel_statistics


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


@pytest.mark.parametrize("model", [MLP(widths=(8,)), SmallCNN(width=4, hidden=8)])
def test_weights_follow_from_the_seed_and_leave_the_global_generator_alone(make_table, make_images, model):
    examples = make_table() if isinstance(model, MLP) else make_images()
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
