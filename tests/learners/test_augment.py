import numpy as np
import pytest
import torch

from learners.augment import Augmentation, cropped, cut_out, flipped, uniform_draws
from learners.fit import fit
from learners.methods.erm import ERM
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN
from learners.training import Training

IMAGES = torch.arange(1.0, 13.0).view(1, 1, 3, 4)
EVERYTHING = Augmentation(names=("crop", "flip", "cutout"), crop_padding=2, cutout_size=3, seed=5)


def test_a_crop_moves_the_image_and_fills_with_black():
    found = cropped(IMAGES, torch.tensor([0]), torch.tensor([2]), padding=1)
    # one row down, one column to the left
    assert found[0, 0].tolist() == [[0, 0, 0, 0], [2, 3, 4, 0], [6, 7, 8, 0]]
    assert torch.equal(cropped(IMAGES, torch.tensor([1]), torch.tensor([1]), padding=1), IMAGES)


def test_a_flip_mirrors_the_chosen_images_left_to_right():
    found = flipped(IMAGES.expand(2, 1, 3, 4), torch.tensor([True, False]))
    assert found[0, 0, 0].tolist() == [4, 3, 2, 1]
    assert torch.equal(found[1], IMAGES[0])


def test_a_cutout_blackens_a_square_that_may_reach_over_the_edge():
    found = cut_out(IMAGES, torch.tensor([0]), torch.tensor([2]), size=3)
    assert found[0, 0].tolist() == [[1, 0, 0, 0], [5, 0, 0, 0], [9, 10, 11, 12]]


def test_draws_are_uniform_and_unlike_for_neighbouring_positions_and_keys():
    draws = uniform_draws(123, np.arange(100_000))
    shares = np.histogram(draws, bins=10, range=(0, 1))[0] / 100_000
    np.testing.assert_allclose(shares, 0.1, atol=0.005)  # 5 standard errors
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(draws, uniform_draws(124, np.arange(100_000)))[0, 1]) < 0.02


def test_what_happens_to_an_image_does_not_depend_on_its_batch():
    images = torch.rand(20, 3, 8, 8)
    positions = np.arange(100, 120)
    whole = EVERYTHING.applied(images, positions, 3)
    order = np.random.default_rng(0).permutation(20)
    for rows in np.array_split(order, 3):
        part = EVERYTHING.applied(images[torch.from_numpy(rows)], positions[rows], 3)
        assert torch.equal(part, whole[torch.from_numpy(rows)])


def test_every_pass_and_every_position_has_its_own_change():
    images = torch.rand(1, 1, 8, 8).expand(64, 1, 8, 8)
    once, again = (EVERYTHING.applied(images, np.arange(64), number) for number in (0, 1))
    assert (once != again).flatten(1).any(dim=1).float().mean() > 0.9
    assert len({tuple(image.flatten().tolist()) for image in once}) > 55


def test_about_half_of_the_images_are_mirrored():
    images = torch.arange(2.0).view(1, 1, 1, 2).expand(4000, 1, 1, 2)
    mirrored = Augmentation(names=("flip",), crop_padding=None, cutout_size=None, seed=1)
    found = mirrored.applied(images, np.arange(4000), 0)
    assert float(found[:, 0, 0, 0].mean()) == pytest.approx(0.5, abs=0.04)  # 5 standard errors


def test_training_sees_augmented_images(train, make_images):
    plain, changed = (
        train(ERM(), make_images(), model=SmallCNN(width=2, hidden=4), augment=names) for names in ((), ("flip",))
    )
    weights = [next(iter(state.models[0].parameters())) for state in (plain, changed)]
    assert not torch.equal(*weights)


def test_augmentation_of_a_table_is_refused(make_table):
    with pytest.raises(ValueError, match="augment is for images, and these inputs are a table"):
        fit(ERM(), make_table(), model=MLP(), training=Training(augment=("flip",)), seed=0)
