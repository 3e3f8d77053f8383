from dataclasses import dataclass, replace

import numpy as np
import pytest

from learners.batch import Batch
from learners.evaluate import predict_logits
from learners.fit import fit
from learners.folds import held_out_probs, without_fold
from learners.learner import Learner, StepReport
from learners.methods.elr_plus import ELRPlus
from learners.methods.erm import ERM
from learners.methods.ps_kd import PSKD
from learners.models.mlp import MLP
from learners.state import TrainState
from learners.training import Training


@dataclass(frozen=True, kw_only=True)
class Diary(Learner):
    """Plain training that writes down which rows it was shown."""

    seen: set

    def step(self, state: TrainState, batch: Batch) -> StepReport:
        self.seen.update(batch.positions.tolist())
        return ERM().step(state, batch)


def trained_without(learner, examples, held_out):
    training = Training(epochs=2, batch_size=16, class_weights="balanced")
    run = fit(learner, without_fold(examples, held_out), model=MLP(widths=(8,)), training=training, seed=1)
    return list(run)[-1].state


def test_rows_of_the_fold_and_rows_of_weight_0_enter_no_batch(make_table):
    held_out = np.arange(60) % 3 == 1
    weights = (np.arange(60) % 5 > 0).astype(np.float32)
    diary = Diary(seen=set())
    trained_without(diary, make_table(weights=weights), held_out)
    assert diary.seen == set(np.flatnonzero(~held_out & (weights > 0)).tolist())


@pytest.mark.parametrize("learner", [ERM(), ELRPlus(), PSKD()])
def test_nothing_of_the_fold_reaches_the_networks_that_judge_it(make_table, learner):
    examples = make_table()
    held_out = np.arange(60) < 15
    rng = np.random.default_rng(0)
    strange = replace(
        examples,
        inputs=np.where(held_out[:, None], 100 * rng.normal(size=examples.inputs.shape), examples.inputs).astype("f4"),
        labels=np.where(held_out, (examples.labels + 1) % 3, examples.labels),
    )
    states = [trained_without(learner, one, held_out) for one in (examples, strange)]
    assert np.array_equal(*(predict_logits(state.predicting, examples) for state in states))


def test_probabilities_are_the_softmax_of_the_logits_of_the_fold_in_order(make_table):
    examples, held_out = make_table(), np.arange(60) % 7 == 2
    (report,) = fit(ERM(), examples, model=MLP(widths=()), training=Training(epochs=1), seed=0)
    logits = predict_logits(report.state.models, examples)[held_out].astype(np.float64)
    slow = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(held_out_probs(report.state.models, examples, held_out), slow, atol=1e-6)
