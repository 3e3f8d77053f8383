import numpy as np

from curation.selectors.everything import Everything
from tests.worlds import planted_flips


def test_all_examples_are_kept_at_weight_one_for_the_same_reason():
    selection = Everything()(planted_flips().signals, {}, np.random.default_rng(0))
    assert selection.weights.tolist() == [1.0] * 200
    assert list(selection.counts()) == [("everything", 200)]
    assert Everything().reads == ()
