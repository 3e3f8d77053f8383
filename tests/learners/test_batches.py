import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.batches import ExampleTensors, batch_positions, input_tensor, kept_positions, network_inputs
from learners.training import Training


def positions(kept, *, batch_size=4, seed=0, first_step=0, num_steps=6):
    training = Training(batch_size=batch_size)
    batches = batch_positions(np.asarray(kept), training, seed=seed, first_step=first_step, num_steps=num_steps)
    return [batch.tolist() for batch in batches]


def test_ten_examples_in_batches_of_four_give_four_four_two():
    assert [len(batch) for batch in positions(range(10), num_steps=3)] == [4, 4, 2]


def test_a_single_last_example_joins_the_batch_before_it():
    assert [len(batch) for batch in positions(range(9), num_steps=2)] == [4, 5]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 200), min_size=2), st.integers(2, 9), st.integers(0, 5), st.integers(0, 12))
def test_every_pass_visits_each_kept_example_once_and_any_epoch_follows_from_its_first_step(
    kept, batch_size, seed, first_step
):
    kept = sorted(kept)
    per_pass = Training(batch_size=batch_size).batches_per_pass(len(kept))
    batches = positions(kept, batch_size=batch_size, seed=seed, num_steps=3 * per_pass)
    for number in range(3):
        visited = [row for batch in batches[number * per_pass : (number + 1) * per_pass] for row in batch]
        assert sorted(visited) == kept
    sizes = [len(batch) for batch in batches]
    assert min(sizes) > 1
    assert max(sizes) <= batch_size + 1
    later = positions(kept, batch_size=batch_size, seed=seed, first_step=first_step, num_steps=2)
    longer = positions(kept, batch_size=batch_size, seed=seed, num_steps=first_step + 2)
    assert later == longer[first_step:]


def test_passes_and_seeds_differ_in_order():
    first, second = positions(range(40), batch_size=40, num_steps=2)
    (other,) = positions(range(40), batch_size=40, seed=1, num_steps=1)
    assert first != second
    assert first != other


def test_images_stay_bytes_and_reach_the_network_as_channels_in_0_to_1():
    grey = input_tensor(np.array([[[0, 255], [51, 102]]], np.uint8))
    assert grey.dtype == torch.uint8
    np.testing.assert_allclose(network_inputs(grey), [[[[0, 1], [0.2, 0.4]]]], atol=1e-7)
    colour = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    found = network_inputs(input_tensor(colour))
    assert found.shape == (2, 5, 3, 4)
    np.testing.assert_allclose(found[1, 2], colour[1, :, :, 2] / 255, atol=1e-7)


def test_read_only_inputs_are_taken_without_a_warning_and_left_untouched(recwarn):
    inputs = np.ones((3, 2), np.float32)
    inputs.flags.writeable = False
    assert torch.equal(input_tensor(inputs), torch.ones(3, 2))
    assert not len(recwarn)


def test_inputs_of_another_type_are_named():
    with pytest.raises(TypeError, match=r"got float64 of shape \(3, 2\)"):
        input_tensor(np.ones((3, 2)))


def test_a_batch_holds_the_rows_of_its_positions(make_table):
    examples = make_table(num_examples=6, weights=np.arange(6, dtype=np.float32))
    batch = ExampleTensors.of(examples).batch(torch.tensor([4, 1]))
    np.testing.assert_array_equal(batch.inputs, examples.inputs[[4, 1]])
    assert batch.labels.tolist() == [1, 1]
    assert batch.weights.tolist() == [4.0, 1.0]
    assert batch.groups is None
    assert kept_positions(examples).tolist() == [1, 2, 3, 4, 5]


def test_fewer_than_two_kept_examples_are_refused(make_table):
    weights = np.zeros(6, np.float32)
    weights[3] = 1
    with pytest.raises(ValueError, match="at least 2 examples of weight above 0, got 1 of 6"):
        kept_positions(make_table(num_examples=6, weights=weights))
