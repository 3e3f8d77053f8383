import math

import numpy as np
import pytest
import torch
from torch import nn

from learners.evaluate import accuracy, mean_and_standard_error, per_class_accuracy, predict_logits
from learners.models.mlp import MLP
from learners.models.small_cnn import SmallCNN

LOGITS = np.array([[3.0, 1, 0], [0, 2, 1], [5, 1, 2], [0, 1, 0]])


def test_accuracy_counts_the_rows_whose_largest_logit_is_the_label():
    assert accuracy(LOGITS, np.array([0, 1, 2, 1])) == 0.75


def test_accuracy_of_a_class_without_examples_is_nan():
    found = per_class_accuracy(LOGITS, np.array([0, 1, 0, 0]))
    np.testing.assert_allclose(found, [2 / 3, 1.0, np.nan])


def test_mean_and_standard_error_of_three_seeds_by_hand():
    # values 1, 2, 6: mean 3, sample variance (4 + 1 + 9) / 2 = 7, error sqrt(7 / 3)
    mean, error = mean_and_standard_error([1.0, 2.0, 6.0])
    assert mean == 3.0
    assert error == pytest.approx(math.sqrt(7 / 3))


def test_one_seed_has_no_standard_error_and_none_is_refused():
    assert mean_and_standard_error([0.5]) == (0.5, None)
    with pytest.raises(ValueError, match="at least one value"):
        mean_and_standard_error([])


def test_logits_do_not_depend_on_batches_and_modes_are_put_back(make_images):
    examples = make_images(weights=np.zeros(40, np.float32) + (np.arange(40) > 3).astype(np.float32))
    network = SmallCNN(width=4, hidden=8).build(examples, seed=0)
    network.train()
    one_by_one = np.concatenate(
        [network.eval()(torch.from_numpy(image / np.float32(255))[None, None]).detach() for image in examples.inputs]
    )
    network.train()
    np.testing.assert_allclose(predict_logits([network], examples, batch_size=7), one_by_one, atol=1e-5)
    assert network.training
    assert all(isinstance(value, torch.Tensor) and value.grad is None for value in network.parameters())


def test_several_networks_are_averaged(make_table):
    examples = make_table()
    networks: list[nn.Module] = [MLP(widths=(8,)).build(examples, seed) for seed in (0, 1)]
    mean = (predict_logits(networks[:1], examples) + predict_logits(networks[1:], examples)) / 2
    np.testing.assert_allclose(predict_logits(networks, examples), mean, atol=1e-6)
