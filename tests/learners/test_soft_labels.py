from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.augment import uniform_draws
from learners.checkpoint import save_state
from learners.fit import fit
from learners.losses import soft_cross_entropy
from learners.methods.erm import ERM, erm_losses
from learners.models.mlp import MLP
from learners.randomness import generator
from learners.soft_labels import drawn_labels
from learners.training import Training


def draws(rows, seed=0, pass_number=0):
    soft = np.array(rows, np.float32)
    return drawn_labels(soft, np.arange(len(soft)), seed=seed, pass_number=pass_number)


def softened(examples, share=0.3):
    """Every label keeps 1 - share, and the next class has the rest."""
    one_hot = np.eye(examples.num_classes, dtype=np.float32)
    soft = (1 - share) * one_hot[examples.labels] + share * one_hot[(examples.labels + 1) % examples.num_classes]
    return replace(examples, soft_labels=soft.astype(np.float32))


def test_a_draw_is_the_class_in_whose_stretch_the_number_falls():
    # stretches [0, 0.2), [0.2, 0.2), [0.2, 0.7), [0.7, 1): the second class has none
    numbers = uniform_draws(int(generator(5, "soft labels", 2).integers(2**64, dtype=np.uint64)), np.arange(40))
    expected = [0 if number < 0.2 else 2 if number < 0.7 else 3 for number in numbers]
    assert draws([[0.2, 0, 0.5, 0.3]] * 40, seed=5, pass_number=2).tolist() == expected


def test_classes_are_drawn_as_often_as_their_probability_says():
    probs = np.array([0.1, 0.6, 0.0, 0.3])
    counts = np.bincount(draws([probs] * 20_000), minlength=4)
    # binomial: standard deviations of at most 70; 5 of them
    assert np.abs(counts - 20_000 * probs).max() < 350
    assert counts[2] == 0


def test_one_row_is_drawn_as_often_over_passes_and_each_pass_by_itself():
    found = np.array([draws([[0.25, 0.75]] * 2, pass_number=number) for number in range(2000)])
    # standard deviation sqrt(2000 * 0.25 * 0.75) = 19.4; 5 of them
    assert np.abs((found == 0).sum(axis=0) - 500).max() < 97
    # independent: P(same) = 0.25^2 + 0.75^2 = 0.625, standard deviation 0.0108
    assert abs((found[1:] == found[:-1]).mean(axis=0) - 0.625).max() < 0.055
    assert abs((found[:, 0] == found[:, 1]).mean() - 0.625) < 0.055


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 50), st.permutations(range(7)))
def test_a_row_with_all_its_mass_on_one_class_keeps_it_and_no_batch_changes_a_draw(seed, pass_number, order):
    one_hot = np.eye(7, dtype=np.float32)[list(order)]
    assert drawn_labels(one_hot, np.arange(7), seed=seed, pass_number=pass_number).tolist() == list(order)
    soft = np.full((7, 3), 1 / 3, np.float32)
    whole = drawn_labels(soft, np.arange(7), seed=seed, pass_number=pass_number)
    some = np.array(order[:3])
    np.testing.assert_array_equal(drawn_labels(soft, some, seed=seed, pass_number=pass_number), whole[some])


def test_the_mean_gradient_over_draws_is_that_of_the_soft_label():
    soft = torch.tensor([[0.2, 0.5, 0.3]])
    logits = torch.tensor([[0.4, -0.3, 0.1]], requires_grad=True)
    (expected,) = torch.autograd.grad(soft_cross_entropy(logits, soft).sum(), logits)
    labels = torch.from_numpy(draws(soft.repeat(10_000, 1).numpy()))
    (found,) = torch.autograd.grad(erm_losses(logits.expand(10_000, 3), labels).mean(), logits)
    # each entry is a mean of 10,000 draws that differ by at most 1: standard error at most 0.005
    torch.testing.assert_close(found, expected, rtol=0, atol=0.025)


def test_training_on_soft_labels_predicts_them(train, make_table):
    examples = softened(make_table(num_examples=120))
    state = train(ERM(), examples, model=MLP(widths=()), epochs=60, learning_rate=0.1, weight_decay=0.0)
    with torch.no_grad():
        probs = state.models[0](torch.from_numpy(examples.inputs)).softmax(1).numpy()
    # far apart clouds, so the best prediction is (0.7, 0.3, 0); trained on labels alone the first would be near 1
    given = probs[np.arange(120), examples.labels]
    assert given.mean() == pytest.approx(0.7, abs=0.05)


def test_metrics_count_by_the_given_labels(make_table):
    examples = make_table()
    turned = np.eye(3, dtype=np.float32)[(examples.labels + 1) % 3]
    training = Training(epochs=15, batch_size=16, learning_rate=0.1)
    reports = fit(ERM(), replace(examples, soft_labels=turned), model=MLP(widths=(8,)), training=training, seed=0)
    assert list(reports)[-1].metrics["accuracy"] < 0.1


@pytest.mark.parametrize("other", [{}, {"gradient_accumulation": 3, "optimizer": "sam"}])
def test_training_on_soft_labels_resumes_bit_for_bit(make_table, other):
    def run(resume=None):
        training = Training(epochs=4, batch_size=16, steps_per_epoch=5, **other)
        examples = softened(make_table())
        return fit(ERM(), examples, model=MLP(widths=(8,)), training=training, seed=1, resume=resume)

    whole = save_state(list(run())[-1].state).arrays
    parts = save_state(list(run(save_state(next(run()).state)))[-1].state).arrays
    for name, array in whole.items():
        np.testing.assert_array_equal(parts[name], array, err_msg=name)


def test_a_checkpoint_of_other_soft_labels_is_refused(make_table):
    settings_ = {"model": MLP(widths=(8,)), "training": Training(epochs=2, batch_size=16), "seed": 1}
    checkpoint = save_state(next(fit(ERM(), softened(make_table()), **settings_)).state)
    with pytest.raises(ValueError, match="another run: its examples is"):
        fit(ERM(), softened(make_table(), share=0.4), **settings_, resume=checkpoint)
