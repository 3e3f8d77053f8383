import numpy as np
import pytest

from curation.rebalancer import Rebalanced, legacy_draws
from tests.curation.imbalanced import training_rows


def test_the_legacy_calls_draw_from_the_generator_itself():
    drawn = legacy_draws(np.random.default_rng(3)).uniform(size=4)
    np.testing.assert_array_equal(drawn, np.random.RandomState(np.random.PCG64(3)).uniform(size=4))
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    legacy_draws(rng).uniform()
    assert rng.bit_generator.state != before


def test_members_come_in_the_order_of_the_ids():
    rows = training_rows([[0.0], [1.0], [2.0]], [1, 0, 1])
    assert rows.members(1).tolist() == [0, 2]
    assert rows.counts.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": [[0.0], [np.nan], [np.inf]]}, "2 of 3 examples are null or not finite .*first: 'world:00001'"),
        ({"features": np.zeros((3, 2, 2), np.uint8)}, "must be .N, D. of floating point, got .* rebalance images"),
        ({"features": np.zeros((2, 1))}, "features has 2 rows for 3 examples"),
        ({"labels": [0, -1, 1], "classes": ("a", "b")}, r"1 of 3 examples are labelled outside \[0, 2\)"),
        ({"categories": np.array([[0], [-1], [2]])}, "1 of 3 examples are null .a code below 0. in its categories"),
        ({"categories": np.empty((3, 0), int)}, "categories must have at least one column, got none; leave them out"),
        ({"categories": np.array([[0.0]] * 3)}, "categories must be .N, C. of whole numbers, got .* of float64"),
    ],
)
def test_rows_that_cannot_be_rebalanced_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        training_rows(**{"features": [[0.0], [1.0], [2.0]], "labels": [0, 1, 1], **changed})


def test_parents_must_be_named_for_every_synthetic_row():
    rows = training_rows([[0.0], [1.0]], [0, 1])
    one = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="gap has 2 rows for 1 synthetic ones"):
        Rebalanced(
            index=rows.index,
            kept=np.ones(2, dtype=bool),
            features=np.zeros((1, 1)),
            labels=one,
            parent_a=one,
            parent_b=one,
            gap=np.zeros(2),
        )
