import numpy as np
import pytest

from curation.selectors.rs2 import RS2
from storage.index import ExampleIndex
from storage.values import Schedule, Selection, Signals


def run(selector: RS2, num_examples: int, seed: int = 0) -> Selection:
    index = ExampleIndex(f"world:{number}" for number in range(num_examples))
    return selector(Signals(index=index, arrays={}), {}, np.random.default_rng(seed))


def test_everything_is_kept_and_a_quarter_of_it_is_dealt_to_each_epoch():
    selection = run(RS2(fraction=0.25), 12)
    assert selection.weights.tolist() == [1] * 12
    assert set(selection.reasons) == {"dealt among 25 % of each epoch"}
    seed = int(np.random.default_rng(0).integers(2**31))
    assert selection.schedule == Schedule(rule="dealt", fraction=0.25, seed=seed)


def test_the_other_rule_redraws():
    assert run(RS2(fraction=0.1, rule="redrawn"), 20).schedule.rule == "redrawn"
    with pytest.raises(ValueError, match="rule must be one of redrawn, dealt, got 'stratified'"):
        RS2(fraction=0.1, rule="stratified")
