import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from curation.scorers.loss import Loss
from curation.scorers.ps_kd_doubt import PSKDDoubt
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import one_epoch, planted_flips


def test_three_doubts_by_hand():
    # the prediction (0.5, 0.3, 0.2) leaves 0.5, 0.7 and 0.8 off the labels 0, 1 and 2
    scores = PSKDDoubt()(one_epoch("ps_kd_targets", [[0.5, 0.3, 0.2]] * 3, [0, 1, 2]))
    np.testing.assert_allclose(scores.values, [0.5, 0.7, 0.8])
    assert scores.columns["suggested_label"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(scores.columns["confidence"], [0.5, 0.5, 0.5])
    assert scores.high_means == "hard"


def test_seeds_are_averaged_and_an_epoch_can_be_chosen():
    # of label 0 the seeds say 0.9 and 0.5 at epoch 2: doubts 0.1 and 0.5, mean 0.3 +- 0.2; at epoch 1 both say 0.2
    past = np.array([[[[0.2, 0.8], [0.9, 0.1]]], [[[0.2, 0.8], [0.5, 0.5]]]])
    signals = Signals(
        index=ExampleIndex(["a"]),
        arrays={"ps_kd_targets": past, "label": np.array([0])},
        epochs={"ps_kd_targets": (1, 2)},
    )
    scores = PSKDDoubt()(signals)
    np.testing.assert_allclose(scores.values, [0.3])
    np.testing.assert_allclose(scores.standard_error, [0.2])
    early = PSKDDoubt(epoch=1)(signals)
    np.testing.assert_allclose(early.values, [0.8])
    assert early.columns["suggested_label"].tolist() == [1]


def test_planted_wrong_labels_are_doubted_early_and_the_order_is_that_of_the_loss():
    world = planted_flips()
    early = PSKDDoubt(epoch=1)(world.signals)
    assert roc_auc_score(world.wrong, early.values) > 0.95
    assert (early.columns["suggested_label"][world.wrong] == world.clean_labels[world.wrong]).mean() > 0.9
    probs = world.signals["ps_kd_targets"][:1]
    single = Signals(
        index=world.signals.index,
        arrays={"ps_kd_targets": probs, "logits": np.log(probs), "label": world.signals["label"]},
        epochs={"ps_kd_targets": world.signals.epochs["ps_kd_targets"], "logits": world.signals.epochs["logits"]},
    )
    np.testing.assert_array_equal(np.argsort(PSKDDoubt()(single).values), np.argsort(Loss()(single).values))


def test_examples_never_visited_and_epochs_below_one_are_refused():
    with pytest.raises(ValueError, match=r"1 of 2 examples have no past prediction.*\(first: 'world:1'\)"):
        PSKDDoubt()(one_epoch("ps_kd_targets", [[0.5, 0.5], [0.0, 0.0]], [0, 1]))
    with pytest.raises(ValueError, match="epoch must be at least 1, got 0"):
        PSKDDoubt(epoch=0)
