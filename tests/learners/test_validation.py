from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.attacks import Attack
from learners.checkpoint import load_model, model_arrays, save_state
from learners.evaluate import accuracy, predict_logits
from learners.fit import fit
from learners.methods.erm import ERM
from learners.methods.pgd_training import PGDTraining
from learners.models.mlp import MLP
from learners.robustness import adversarial_logits
from learners.signals import Recorder
from learners.training import Training
from learners.validation import Validation
from tests.learners.states import state_of

SMALL = MLP(widths=(8,))


def run(examples, validation, *, resume=None, recorder=None, **settings):
    training = Training(epochs=6, batch_size=16, **settings)
    return fit(
        ERM(), examples, model=SMALL, training=training, seed=0, validation=validation, resume=resume, recorder=recorder
    )


def test_every_report_tells_validation_metrics_by_the_given_labels(make_table):
    validation = make_table(seed=5, labels=np.zeros(60))
    for report in run(make_table(), validation):
        logits = predict_logits(report.state.models, validation)
        assert report.validation["accuracy"] == pytest.approx(accuracy(logits, validation.labels))
        shifted = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[:, 0]
        assert report.validation["loss"] == pytest.approx(losses.mean(), rel=1e-5)


def test_validation_rows_of_weight_0_do_not_count(make_table):
    validation = make_table(seed=5)
    spoilt = replace(validation, inputs=np.concatenate([validation.inputs[:30], np.full((30, 4), 9, np.float32)]))
    weights = np.repeat([1, 0], 30).astype(np.float32)
    found = [
        [report.validation for report in run(make_table(), replace(given, weights=weights))]
        for given in (validation, spoilt)
    ]
    assert found[0] == found[1]


def load_best(state):
    network = torch.nn.Linear(1, 1, bias=False)
    load_model(network, model_arrays(state.best))
    return network.weight.item()


def judged(values, best_by="accuracy"):
    """Best epochs after each epoch with these metrics, and the weight kept in the end."""
    network = torch.nn.Linear(1, 1, bias=False)
    state = state_of(network)
    judge = Validation(inputs=torch.zeros(1, 1), labels=torch.zeros(1, dtype=torch.int64), best_by=best_by)
    found = []
    for epoch, value in enumerate(values, start=1):
        state.epoch = epoch
        torch.nn.init.constant_(network.weight, epoch)
        found.append(judge.keep_best(state, {"accuracy": value, "loss": value}))
    return found, load_best(state)


def test_the_best_epoch_is_the_first_of_the_highest_accuracy_and_its_weights_are_kept():
    assert judged([0.2, 0.7, 0.5, 0.7]) == ([1, 2, 2, 2], 2.0)


def test_the_best_epoch_can_be_that_of_the_lowest_loss():
    assert judged([0.9, 0.7, 0.5, 0.6], best_by="loss") == ([1, 2, 3, 3], 3.0)


def test_training_ends_after_so_many_epochs_without_a_better_one(make_table):
    validation = make_table(seed=5, labels=np.arange(60) // 20)
    reports = list(run(make_table(), validation, early_stop=2, learning_rate=1e-9))
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert reports[-1].best_epoch == 1


def test_a_resumed_run_stops_where_an_unbroken_one_stops(make_table):
    validation = make_table(seed=5)
    settings = {"early_stop": 2, "best_by": "loss", "learning_rate": 0.3}
    whole = list(run(make_table(), validation, **settings))
    first = run(make_table(), validation, **settings)
    next(first)
    checkpoint = save_state(next(first).state)
    parts = list(run(make_table(), validation, resume=checkpoint, **settings))
    assert [report.validation for report in parts] == [report.validation for report in whole[2:]]
    one, other = save_state(whole[-1].state), save_state(parts[-1].state)
    assert one.arrays.keys() == other.arrays.keys()
    assert "vectors/best_epoch" in one.arrays
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


def test_a_checkpoint_of_other_validation_examples_is_refused(make_table):
    checkpoint = save_state(next(run(make_table(), make_table(seed=5))).state)
    with pytest.raises(ValueError, match="another run: its validation is"):
        run(make_table(), make_table(seed=6), resume=checkpoint)


def test_validation_changes_no_weight_of_the_training(make_table):
    plain, validated = list(run(make_table(), None))[-1], list(run(make_table(), make_table(seed=5)))[-1]
    for one, other in zip(plain.state.models[0].parameters(), validated.state.models[0].parameters(), strict=True):
        assert torch.equal(one, other)
    assert plain.best_epoch is None
    assert plain.state.best is plain.state.models
    assert plain.validation == {}


def test_what_does_not_fit_together_is_refused(make_table):
    examples = make_table()
    with pytest.raises(ValueError, match="early_stop and best_by need validation examples"):
        run(examples, None, early_stop=3)
    with pytest.raises(ValueError, match="early_stop and best_by need validation examples"):
        run(examples, None, best_by="loss")
    with pytest.raises(ValueError, match="validation examples have classes"):
        run(examples, make_table(num_classes=2))
    with pytest.raises(ValueError, match=r"must not be trained on, and 60 are \(first: 'toy:0-0'\)"):
        run(examples, examples)
    with pytest.raises(ValueError, match="an example of weight above 0, got none of 60"):
        run(examples, make_table(seed=5, weights=np.zeros(60, np.float32)))
    with pytest.raises(ValueError, match=r"signals at fixed epochs \(logits\) may never come with early_stop"):
        run(examples, make_table(seed=5), early_stop=3, recorder=Recorder({"logits": [6]}))


ATTACK = Attack(epsilon=0.5, step_size=0.125, num_steps=4, start="zero")


def attacked_run(examples, validation, learner):
    training = Training(epochs=3, batch_size=16, learning_rate=0.3, best_by="robust_accuracy")
    return fit(learner, examples, model=SMALL, training=training, seed=0, validation=validation)


def test_robust_accuracy_is_that_under_the_learners_own_attack_and_tells_the_best_epoch(make_table):
    validation = make_table(seed=5)
    found, best = [], []
    for report in attacked_run(make_table(), validation, PGDTraining(attack=ATTACK)):
        logits = adversarial_logits(report.state.models, validation, ATTACK)
        assert report.validation["robust_accuracy"] == pytest.approx(accuracy(logits, validation.labels))
        found.append(report.validation["robust_accuracy"])
        best.append(report.best_epoch)
        assert best[-1] == 1 + int(np.argmax(found))
    assert min(found) < report.validation["accuracy"]


def test_robust_accuracy_changes_no_weight_and_random_starts_are_the_same_each_time(make_table):
    learner = PGDTraining(attack=Attack(epsilon=0.5, step_size=0.125, num_steps=2))
    one, other = (list(attacked_run(make_table(), make_table(seed=5), learner))[-1] for _ in range(2))
    assert one.validation == other.validation
    plain = list(
        fit(learner, make_table(), model=SMALL, training=Training(epochs=3, batch_size=16, learning_rate=0.3), seed=0)
    )
    for mine, theirs in zip(one.state.models[0].parameters(), plain[-1].state.models[0].parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_several_networks_are_attacked_as_one(make_table):
    networks = [torch.nn.Linear(4, 3) for _ in range(2)]
    state = state_of(*networks)
    validation = make_table(seed=5)
    judge = Validation(
        inputs=torch.tensor(validation.inputs),
        labels=torch.tensor(validation.labels),
        best_by="robust_accuracy",
        attack=ATTACK,
    )
    logits = adversarial_logits(networks, validation, ATTACK)
    assert judge.metrics(state)["robust_accuracy"] == pytest.approx(accuracy(logits, validation.labels))


def test_robust_accuracy_of_a_learner_that_does_not_attack_is_refused(make_table):
    with pytest.raises(ValueError, match="needs a learner with an attack of its own, and ERM has none"):
        attacked_run(make_table(), make_table(seed=5), ERM())
