import numpy as np

from learners.attacks import Attack
from learners.evaluate import accuracy
from learners.methods.erm import ERM
from learners.methods.pgd_training import PGDTraining
from learners.models.mlp import MLP
from learners.robustness import adversarial_logits
from storage.index import ExampleIndex
from storage.values import Examples
from tests.learners.states import assert_equal_networks


def brittle_and_steady(num_examples=400, seed=0):
    """Ten features that tell the classes apart by little each, and one that does so by a lot but seldom lies.

    Together the ten are always right, yet a change of 0.3 in each turns them round.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(num_examples) % 2
    sign = 2.0 * labels - 1
    brittle = 0.15 * sign[:, None] + rng.normal(0, 0.05, size=(num_examples, 10))
    steady = np.where(rng.random(num_examples) < 0.9, sign, -sign)
    return Examples(
        index=ExampleIndex(f"toy:{row}" for row in range(num_examples)),
        inputs=np.column_stack([brittle, steady]).astype(np.float32),
        labels=labels.astype(np.int64),
        classes=("low", "high"),
    )


def test_a_radius_of_zero_equals_plain_training_bit_for_bit(train, make_table):
    attack = Attack(epsilon=0.0)
    assert_equal_networks(train(PGDTraining(attack=attack), make_table()), train(ERM(), make_table()))


def test_adversarial_training_stands_an_attack_that_turns_plain_training_round(train):
    examples = brittle_and_steady()
    attack = Attack(epsilon=0.3, step_size=0.1, num_steps=7)
    found = {}
    for learner in (ERM(), PGDTraining(attack=attack)):
        models = train(learner, examples, model=MLP(widths=()), epochs=15, batch_size=32, learning_rate=0.1).models
        found[type(learner)] = accuracy(adversarial_logits(models, examples, attack), examples.labels)
    assert found[ERM] < 0.5
    assert found[PGDTraining] > 0.85


def test_margins_under_attack_are_kept_for_every_visited_example(train, make_table):
    weights = np.ones(60, np.float32)
    weights[::7] = 0
    state = train(PGDTraining(attack=Attack(epsilon=0.5, step_size=0.2)), make_table(weights=weights), epochs=5)
    margins = state.buffers["adversarial_margins"][:, 0]
    assert (margins[weights == 0] == 0).all()
    assert (margins[weights > 0] != 0).all()
