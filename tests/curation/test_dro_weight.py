import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from curation.scorers.dro_weight import DROWeight
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import planted_flips


def weights(mean, last):
    """Signals of R seeds, two examples and two epochs, from (R, 2, 2) numbers."""
    arrays = {"dro_mean_weights": np.array(mean)[..., None], "dro_weights": np.array(last)[..., None]}
    return Signals(index=ExampleIndex(["w:0", "w:1"]), arrays=arrays, epochs=dict.fromkeys(arrays, (1, 3)))


def test_mean_over_seeds_error_and_latest_weight_by_hand():
    # Of epoch 3: means (0.5, 1.5) and (0.7, 1.9), so 0.6 +- 0.1 and 1.7 +- 0.2; latest (0.2, 2) and (0.4, 3).
    signals = weights(
        [[[1.0, 0.5], [1.0, 1.5]], [[1.0, 0.7], [1.0, 1.9]]], [[[1.0, 0.2], [1.0, 2.0]], [[1.0, 0.4], [1.0, 3.0]]]
    )
    scores = DROWeight()(signals)
    np.testing.assert_allclose(scores.values, [0.6, 1.7])
    np.testing.assert_allclose(scores.standard_error, [0.1, 0.2])
    np.testing.assert_allclose(scores.columns["last"], [0.3, 2.5])
    np.testing.assert_allclose(DROWeight(epoch=1)(signals).values, [1.0, 1.0])


def test_planted_wrong_labels_weigh_more():
    world = planted_flips()
    scores = DROWeight()(world.signals)
    assert roc_auc_score(world.wrong, scores.values) > 0.95


def test_several_numbers_per_example_and_epochs_below_one_are_refused():
    shape = np.ones((1, 2, 1, 3))
    signals = Signals(
        index=ExampleIndex(["w:0", "w:1"]),
        arrays={"dro_mean_weights": shape, "dro_weights": shape},
        epochs={"dro_mean_weights": (1,), "dro_weights": (1,)},
    )
    with pytest.raises(ValueError, match=r"'dro_mean_weights' must hold one number per example, got shape \(3,\)"):
        DROWeight()(signals)
    with pytest.raises(ValueError, match="epoch must be at least 1, got 0"):
        DROWeight(epoch=0)
