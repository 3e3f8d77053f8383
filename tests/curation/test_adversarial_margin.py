import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from curation.scorers.adversarial_margin import AdversarialMargin
from storage.index import ExampleIndex
from storage.values import Signals
from tests.worlds import planted_flips


def test_mean_over_seeds_by_hand():
    # (2 + 1) / 2 = 1.5 +- 0.5; (-1 + 0) / 2 = -0.5 +- 0.5; at epoch 1: 4 and 0
    margins = np.array([[[4.0, 2.0], [0.0, -1.0]], [[4.0, 1.0], [0.0, 0.0]]])[..., None]
    signals = Signals(
        index=ExampleIndex(["a", "b"]),
        arrays={"adversarial_margins": margins},
        epochs={"adversarial_margins": (1, 2)},
    )
    scores = AdversarialMargin()(signals)
    np.testing.assert_allclose(scores.values, [1.5, -0.5])
    np.testing.assert_allclose(scores.standard_error, [0.5, 0.5])
    np.testing.assert_allclose(AdversarialMargin(epoch=1)(signals).values, [4.0, 0.0])


def test_planted_wrong_labels_have_low_margins():
    world = planted_flips()
    assert roc_auc_score(world.wrong, -AdversarialMargin()(world.signals).values) > 0.95


def test_an_epoch_below_one_is_refused():
    with pytest.raises(ValueError, match="epoch must be at least 1, got 0"):
        AdversarialMargin(epoch=0)
